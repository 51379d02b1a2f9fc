"""Winnow on embeddings of your own network: what does not belong, and which pictures are worth a label."""

import torch

import winnow

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 32), torch.nn.ReLU()).eval()  # yours

with torch.inference_mode():
    normal, new = network(torch.rand(400, 3, 16, 16)).numpy(), network(torch.rand(20, 3, 16, 16) * 2).numpy()

detector = winnow.Detector(scorer="knn", false_alarm_rate=0.05).fit(normal)
print("p-values of new pictures:", detector.p_values(new).round(3)[:5])

order = winnow.choose(normal, 10).rows
print("label these first:", order)
