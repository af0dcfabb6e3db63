"""Cost functions: what is minimized decides how fast a net learns.

`perceptron` is one layer, its error J(theta) and gradient descent on it, by hand and in Keras.
Under the quadratic cost the sigmoid neuron of `slowdown` learns slowest where it is most wrong,
under cross-entropy it does not; `slowdown_net` shows the same on digits. `output_units` shows which
cost belongs to which output unit. `bricks` builds nets and losses of parts that know their forward
and backward step, `losses` compares what these losses teach, and `svm_output` compares softmax with
the hinge loss by the protocol of a paper. The chapter begins with the lecture of Duisburg-Essen,
then follows Nielsen, Neural Networks and Deep Learning (2015), chapter 3, and the lecture of Busan.
Output units are those of the lecture of Konstanz; bricks and losses are those of TU Darmstadt.
"""
