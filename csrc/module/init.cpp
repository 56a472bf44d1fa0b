// What Python calls in the module FASTGAN_MODULE; all that is compiled once per level here.
#include <Python.h>

#define FASTGAN_INIT_OF(name) PyInit_##name
#define FASTGAN_INIT(name) FASTGAN_INIT_OF(name)

extern "C" PyObject* PyInit__native();

PyMODINIT_FUNC FASTGAN_INIT(FASTGAN_MODULE)() { return PyInit__native(); }
