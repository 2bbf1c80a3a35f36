import torch
p=torch.nn.Parameter(torch.randn(3,2)); o=torch.optim.Adam([p],fused=True); p.grad=torch.ones_like(p); o.step()
sd=o.state_dict(); print({k:(v.device,v.dtype) for k,v in sd['state'][0].items()}, sd['param_groups'])
q=torch.nn.Parameter(torch.empty(3,2,device='meta'))
try:
    o2=torch.optim.Adam([q],fused=True); o2.load_state_dict(sd); print({k:v.device for k,v in o2.state[q].items()})
except Exception as e: print(repr(e))
o3=torch.optim.AdamW([p]); o3.step(); sd=o3.state_dict(); print(sd['param_groups'])
q=torch.nn.Parameter(torch.empty(3,2,device='meta'))
o2=torch.optim.AdamW([q]); o2.load_state_dict(sd); print({k:v.device for k,v in o2.state[q].items()})
