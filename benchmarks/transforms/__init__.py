"""Transforms: one draw and one resampling move an image and its labels together; colours change too."""
