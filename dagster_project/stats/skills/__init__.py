"""What the item response models say about courses, skills and organizations."""
