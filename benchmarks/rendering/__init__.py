"""Rendering: how rooms are made from scenes, furniture, rays and shading."""
