"""Who is likely to fail or leave: models, their calibration, the evidence for them."""
