"""Item response models: difficulties of questions, abilities of learners and organizations."""
