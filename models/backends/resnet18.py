"""ResNet18 on features as a one-channel image, of torchvision's blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, conv1x1


def stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Two basic blocks; the first has the stride, and a 1x1 convolution as shortcut where the shape changes."""
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        shortcut = nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))
    return nn.Sequential(BasicBlock(in_channels, out_channels, stride, shortcut), BasicBlock(out_channels, out_channels))


class ResNet18(nn.Module):
    """Features (B, features, frames) -> (embedding (B, 8 * width), logits (B, num_classes)).

    Time is the image's height, as in the published network. `width` = channels of the first stage (64: 512-d embedding); the
    others have 2, 4 and 8 times as many. Raises ValueError for another rank. Source: He et al. 2016 (arXiv:1512.03385).
    """

    def __init__(self, num_classes: int, *, width: int = 64):
        super().__init__()
        self.embedding_dim = 8 * width
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.layer1 = stage(width, width, 1)
        self.layer2 = stage(width, 2 * width, 2)
        self.layer3 = stage(2 * width, 4 * width, 2)
        self.layer4 = stage(4 * width, 8 * width, 2)
        self.classifier = nn.Linear(self.embedding_dim, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # The faster layout for these convolutions, on CPU and GPU. With fewer than 8 channels, torch 2.11 writes beyond its memory on
        # processors with AVX2 alone, in the gradient of the shortcut's weights (1x1, stride 2), and the process crashes.
        self.layout = torch.channels_last if width % 8 == 0 else torch.contiguous_format
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            layer.to(memory_format=self.layout)

    def forward(self, x_BFT: Tensor) -> tuple[Tensor, Tensor]:
        if x_BFT.ndim != 3:
            raise ValueError(f"expected (batch, features, frames), got {tuple(x_BFT.shape)}")
        convolution, *rest_of_stem = self.stem
        # A one-channel image has no layout to choose, so it gets one behind the first convolution.
        image = convolution(x_BFT.transpose(1, 2).unsqueeze(1)).contiguous(memory_format=self.layout)
        for layer in rest_of_stem:
            image = layer(image)
        image = self.layer4(self.layer3(self.layer2(self.layer1(image))))
        embedding = image.mean(dim=(2, 3))
        return embedding, self.classifier(embedding)
