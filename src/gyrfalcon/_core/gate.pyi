from ..rpc.limits import FRAME_RATES as FRAME_RATES
