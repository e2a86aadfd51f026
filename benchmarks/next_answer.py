"""How well the next answer is foretold, on public data: a static 2PL beside Best-LR, on learners that neither has seen.

    python -m benchmarks.next_answer --assistments 2015_100_skill_builders_main_problems.csv
    python -m benchmarks.next_answer --oulad anonymisedData.zip

ASSISTments 2015 (19,840 learners, 100 problem sets) has published figures: AUC .70 for Best-LR, .64 for item response
theory (Gervet, Koedinger, Schneider and Mitchell 2020, split by learners). It is not delivered with the project: its
leg is left out where no file is given. OULAD (Kuzilek, Hlosta and Zdrahal 2017, CC BY 4.0) is no such data set; it has
scores of assessments, in which 80 of 100 points are taken as right.

Five folds of learners; each answer of a learner of the held-out fold is foretold from those before it. 2PL: calibrated
on first answers to a question in the other folds, ability given the answers so far. Best-LR: logistic regression on the
question, and on the logarithms of right and wrong answers so far, in all, in the skill and to the question.
"""

import argparse
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

FOLDS = 5
RIGHT_FROM = 80  # of 100 points


def read_assistments(file: Path) -> pd.DataFrame:
    """Answers in their order: learner, question, skill, response."""
    raw = pd.read_csv(file, encoding="latin-1").sort_values(["user_id", "log_id"])
    raw = raw[raw["correct"].isin([0, 1])]
    return pd.DataFrame(
        {
            "learner": raw["user_id"],
            "question": raw["sequence_id"],
            "skill": raw["sequence_id"],
            "response": raw["correct"],
        }
    ).astype(int)


def read_oulad(file: Path) -> pd.DataFrame:
    """Scored assessments by day: learner, question, skill (the module), response."""
    with zipfile.ZipFile(file) as archive:
        scores, assessments = (
            pd.read_csv(archive.open(f"{name}.csv"), na_values="?") for name in ("studentAssessment", "assessments")
        )
    raw = scores[(scores["is_banked"] == 0) & scores["score"].notna()].merge(assessments, on="id_assessment")
    raw = raw.sort_values(["id_student", "date_submitted", "id_assessment"])
    return pd.DataFrame(
        {"learner": raw["id_student"], "question": raw["id_assessment"], "skill": pd.factorize(raw["code_module"])[0]}
        | {"response": (raw["score"] >= RIGHT_FROM).astype(int)}
    )


def foretell_2pl(answers: pd.DataFrame, is_known: np.ndarray) -> np.ndarray:
    """Probability of being right, of the answers of learners who are not known; others NaN."""
    from dagster_project.stats.item_response.calibration import calibrate

    item = answers["question"]
    used = is_known & ~answers.duplicated(["learner", "question"]).to_numpy()
    bank = calibrate(*(answers[name][used].to_numpy() for name in ("learner", "question", "response")))
    node = np.linspace(-6, 6, 61)
    slope, intercept = (bank.items.set_index("item")[name].reindex(item).to_numpy() for name in ("slope", "intercept"))
    share = answers["response"][is_known].mean()
    learner, response = answers["learner"].to_numpy(), answers["response"].to_numpy()
    found = np.full(len(answers), np.nan)
    prior = -0.5 * node**2
    weight, before = prior, None
    for k in np.flatnonzero(~is_known):
        if learner[k] != before:
            weight, before = prior, learner[k]
        if np.isnan(slope[k]):
            found[k] = share
            continue
        logit = slope[k] * node + intercept[k]
        posterior = np.exp(weight - weight.max())
        found[k] = posterior @ (1 / (1 + np.exp(-logit))) / posterior.sum()
        weight = weight - np.logaddexp(0, -logit if response[k] else logit)
    return found


def foretell_best_lr(answers: pd.DataFrame, is_known: np.ndarray) -> np.ndarray:
    """The same by logistic regression."""
    from scipy.sparse import csr_array, hstack
    from sklearn.linear_model import LogisticRegression

    columns = []
    for keys in (["learner"], ["learner", "skill"], ["learner", "question"]):
        of = answers.groupby(keys)["response"]
        right = of.cumsum() - answers["response"]
        columns += [np.log1p(right), np.log1p(of.cumcount() - right)]
    code, _ = pd.factorize(answers["question"])
    row = np.arange(len(answers))
    x = csr_array(hstack([csr_array((np.ones(len(row)), (row, code))), csr_array(np.column_stack(columns))]))
    model = LogisticRegression(max_iter=1000).fit(x[is_known], answers["response"][is_known])
    found = np.full(len(answers), np.nan)
    found[~is_known] = model.predict_proba(x[~is_known])[:, 1]
    return found


MODELS = {"2PL, static": foretell_2pl, "Best-LR": foretell_best_lr}


def compare(answers: pd.DataFrame) -> pd.DataFrame:
    """AUC and log loss of each model by fold."""
    from sklearn.metrics import log_loss, roc_auc_score

    answers = answers.reset_index(drop=True)
    code, learners = pd.factorize(answers["learner"])
    fold = np.random.default_rng(0).permutation(np.arange(len(learners)) % FOLDS)[code]
    rows = []
    for name, foretell in MODELS.items():
        for held_out in range(FOLDS):
            is_out = fold == held_out
            found, truth = foretell(answers, ~is_out)[is_out], answers["response"][is_out]
            rows.append((name, roc_auc_score(truth, found), log_loss(truth, found)))
    return pd.DataFrame(rows, columns=["model", "auc", "log_loss"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assistments", type=Path, help="2015_100_skill_builders_main_problems.csv")
    parser.add_argument("--oulad", type=Path, help="the zip of OULAD")
    arguments = parser.parse_args()
    for name, read, file in (
        ("ASSISTments 2015", read_assistments, arguments.assistments),
        ("OULAD", read_oulad, arguments.oulad),
    ):
        if file is None:
            print(f"{name}: left out, no file is given\n")
            continue
        answers = read(file)
        print(f"{name}: {len(answers):,} answers of {answers['learner'].nunique():,} learners to "
              f"{answers['question'].nunique():,} questions, {answers['response'].mean():.0%} right\n")  # fmt: skip
        print("| model | AUC | its sd over folds | log loss |\n|---|---|---|---|")
        for model, of in compare(answers).groupby("model", sort=False):
            print(f"| {model} | {of['auc'].mean():.3f} | {of['auc'].std():.3f} | {of['log_loss'].mean():.3f} |")
        print()


if __name__ == "__main__":
    main()
