"""Cost functions: what is minimized decides how fast a net learns.

`slowdown` shows on one sigmoid neuron that the quadratic cost learns slowest where it is most
wrong, and that cross-entropy does not; `slowdown_net` shows the same on digits. The chapter follows
Nielsen, Neural Networks and Deep Learning (2015), chapter 3, and the lecture of Busan after it.
"""
