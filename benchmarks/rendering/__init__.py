"""How rooms are made: scenes, furniture, rays and shading."""
