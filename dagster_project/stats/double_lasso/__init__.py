"""Effects of drivers with many possible controls, by double lasso."""
