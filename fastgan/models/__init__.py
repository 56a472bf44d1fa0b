"""The reference generators and discriminators."""
