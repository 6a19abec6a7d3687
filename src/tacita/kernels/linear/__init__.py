"""The linear recurrence `x_t = a_t x_{t-1} + b_t`, for all steps at once."""
