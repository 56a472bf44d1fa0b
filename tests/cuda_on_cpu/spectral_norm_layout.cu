// Where the fields of spectral_norm's tables are, for comparison with the launcher's NumPy dtypes.
#include "../../csrc/cuda/spectral_norm_table.h"

using namespace fastgan;

#define WALK(Layer)                                                                          \
  offsetof(Layer, walk.segments), offsetof(Layer, walk.units), offsetof(Layer, walk.length), \
      offsetof(Layer, walk.period), offsetof(Layer, walk.x_is_u)

extern "C" __global__ void forward_layout(ForwardTable table, int64* sizes, int64* offsets) {
  sizes[0] = sizeof(ForwardLayer);
  sizes[1] = offsetof(ForwardTable, count);
  for (int64 at : {offsetof(ForwardLayer, weight), offsetof(ForwardLayer, vectors), offsetof(ForwardLayer, output),
                   offsetof(ForwardLayer, sigma), offsetof(ForwardLayer, new_vectors), offsetof(ForwardLayer, products),
                   offsetof(ForwardLayer, squares), WALK(ForwardLayer), offsetof(ForwardLayer, team),
                   offsetof(ForwardLayer, lanes), offsetof(ForwardLayer, first)})
    *offsets++ = at;
}

extern "C" __global__ void backward_layout(BackwardTable table, int64* sizes, int64* offsets) {
  sizes[0] = sizeof(BackwardLayer);
  sizes[1] = offsetof(BackwardTable, count);
  for (int64 at : {offsetof(BackwardLayer, grad_grad_weight), offsetof(BackwardLayer, grad_output),
                   offsetof(BackwardLayer, weight), offsetof(BackwardLayer, sigma), offsetof(BackwardLayer, vectors),
                   offsetof(BackwardLayer, grad_grad_output), offsetof(BackwardLayer, grad_weight),
                   offsetof(BackwardLayer, partial), WALK(BackwardLayer), offsetof(BackwardLayer, lanes),
                   offsetof(BackwardLayer, chunk), offsetof(BackwardLayer, first)})
    *offsets++ = at;
}
