"""What a user could write without touching the package: one of each kind of addition. The tests train with them."""

from torch import nn


class Pyramid(nn.Module):
    """A backbone: maps at strides 4, 8, 16 and 32 by one convolution each."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        self.down = nn.ModuleList(nn.Conv2d(width, 2 * width, 2, stride=2) for width in (8, 16, 32))

    def forward(self, image):
        maps = [self.stem(image)]
        for layer in self.down:
            maps.append(layer(maps[-1]).relu())
        return maps
