"""Distances between sets of images, by way of their features."""
