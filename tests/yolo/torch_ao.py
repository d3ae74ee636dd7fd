"""The quantized training of tests/yolo/qat_step.cpp, done by PyTorch's own eager quantization (torch.ao).

    torch_ao.py START OUT

START: a dictionary of tensors: the state of the folded ReLU network under YOLOv5's keys, `images` uint8 [N, 3, H, W] and,
for every head, `direction.K` of the logits' shape. Three steps of SGD (lr 1e-3, Nesterov .9) on
sum over heads of mean(logits * direction), then the logits of the first image in evaluation with observers off.
OUT: logits and gradients of every step, and every parameter, scale and zero point after the last.

The network is written from the architecture's published description (v6.0/v7.0, width and depth from the state's
shapes); torch.ao's prepare_qat puts its observers and fake quantization in place, nothing of ours does.
"""
import sys

import torch
from torch import nn
from torch.ao import quantization as q
from torch.nn.intrinsic import ConvReLU2d
from torch.nn.quantized import FloatFunctional


class Conv(nn.Module):
    def __init__(self, state, key):
        super().__init__()
        weight = state[key + ".conv.weight"]
        out, into, k, _ = weight.shape
        stride = 2 if k > 1 and (key.count(".") == 1) else 1
        conv = nn.Conv2d(into, out, k, stride, 2 if k == 6 else k // 2)
        conv.weight.data.copy_(weight)
        conv.bias.data.copy_(state[key + ".conv.bias"])
        self.conv = ConvReLU2d(conv, nn.ReLU())

    def forward(self, x):
        return self.conv(x)


class Bottleneck(nn.Module):
    def __init__(self, state, key, shortcut):
        super().__init__()
        self.cv1, self.cv2 = Conv(state, key + ".cv1"), Conv(state, key + ".cv2")
        self.skip_add = FloatFunctional() if shortcut else None

    def forward(self, x):
        y = self.cv2(self.cv1(x))
        return self.skip_add.add(x, y) if self.skip_add else y


class C3(nn.Module):
    def __init__(self, state, key, shortcut):
        super().__init__()
        self.cv1, self.cv2, self.cv3 = (Conv(state, f"{key}.cv{i}") for i in (1, 2, 3))
        repeats = sum(k.startswith(key + ".m.") and k.endswith(".cv1.conv.weight") for k in state)
        self.m = nn.Sequential(*(Bottleneck(state, f"{key}.m.{i}", shortcut) for i in range(repeats)))
        self.concat = FloatFunctional()

    def forward(self, x):
        return self.cv3(self.concat.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class SPPF(nn.Module):
    def __init__(self, state, key):
        super().__init__()
        self.cv1, self.cv2 = Conv(state, key + ".cv1"), Conv(state, key + ".cv2")
        self.pool, self.concat = nn.MaxPool2d(5, 1, 2), FloatFunctional()

    def forward(self, x):
        x = self.cv1(x)
        y = self.pool(x)
        z = self.pool(y)
        return self.cv2(self.concat.cat((x, y, z, self.pool(z)), 1))


class Concat(nn.Module):
    def __init__(self):
        super().__init__()
        self.concat = FloatFunctional()

    def forward(self, a, b):
        return self.concat.cat((a, b), 1)


class Head(nn.Module):
    def __init__(self, state, key):
        super().__init__()
        self.m = nn.ModuleList()
        for k in range(3):
            weight = state[f"{key}.m.{k}.weight"]
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
            conv.weight.data.copy_(weight)
            conv.bias.data.copy_(state[f"{key}.m.{k}.bias"])
            self.m.append(conv)

    def forward(self, features):
        logits = []
        for conv, x in zip(self.m, features):
            y = conv(x)
            n, c, h, w = y.shape
            logits.append(y.view(n, 3, c // 3, h, w).permute(0, 1, 3, 4, 2))
        return logits


class YoloV5(nn.Module):
    def __init__(self, state):
        super().__init__()
        self.quant = q.QuantStub()
        layers = [nn.Identity()] * 25
        for i in (0, 1, 3, 5, 7, 10, 14, 18, 21):
            layers[i] = Conv(state, f"model.{i}")
        for i in (2, 4, 6, 8, 13, 17, 20, 23):
            layers[i] = C3(state, f"model.{i}", shortcut=i < 9)
        for i in (12, 16, 19, 22):
            layers[i] = Concat()
        for i in (11, 15):
            layers[i] = nn.Upsample(scale_factor=2, mode="nearest")
        layers[9], layers[24] = SPPF(state, "model.9"), Head(state, "model.24")
        self.model = nn.ModuleList(layers)

    def forward(self, images):
        m = self.model
        x = self.quant(images)
        for i in range(5):
            x = m[i](x)
        p3 = x
        p4 = m[6](m[5](p3))
        p5 = m[9](m[8](m[7](p4)))
        l5 = m[10](p5)
        l4 = m[14](m[13](m[12](m[11](l5), p4)))
        out3 = m[17](m[16](m[15](l4), p3))
        out4 = m[20](m[19](m[18](out3), l4))
        out5 = m[23](m[22](m[21](out4), l5))
        return m[24]((out3, out4, out5))


def main(start, out):
    torch.set_num_threads(1)
    given = torch.load(start)
    images = given["images"].float() / 255
    directions = [given[f"direction.{k}"] for k in range(3)]
    model = YoloV5(given).train()
    model.qconfig = q.QConfig(
        activation=q.FakeQuantize.with_args(observer=q.MovingAverageMinMaxObserver, quant_min=-128, quant_max=127,
                                            dtype=torch.qint8, qscheme=torch.per_tensor_affine),
        weight=q.FakeQuantize.with_args(observer=q.MovingAveragePerChannelMinMaxObserver, quant_min=-128,
                                        quant_max=127, dtype=torch.qint8, qscheme=torch.per_channel_affine))
    q.prepare_qat(model, inplace=True)
    sgd = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    found = {}
    for step in range(3):
        sgd.zero_grad()
        logits = model(images)
        sum((y * d).mean() for y, d in zip(logits, directions)).backward()
        for k, y in enumerate(logits):
            found[f"step{step}.head{k}"] = y.detach().contiguous()
        for name, p in model.named_parameters():
            found[f"step{step}.grad.{name}"] = p.grad.clone()
        sgd.step()
    for name, p in model.named_parameters():
        found["after." + name] = p.detach()
    for name, b in model.named_buffers():
        if name.endswith((".scale", ".zero_point")):
            found["after." + name] = b
    model.apply(q.disable_observer).eval()
    with torch.no_grad():
        for k, y in enumerate(model(images[:1])):
            found[f"eval.head{k}"] = y.contiguous()
    torch.save(found, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
