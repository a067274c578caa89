"""What the API accepts, as pure functions: values in, clean values or a Refused out; never asks anything outside."""
