// A driver that answers what a test wants of it: CUDA's version, the results of the first calls, a GPU's compute capability.
#include <string.h>

int cuDriverGetVersion(int *version) { *version = VERSION; return RESULT; }
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strcpy(name, "Imaginary GPU"); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? CAPABILITY : 0; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)1 << 34; return 0; }
int cuGetErrorString(int error, const char **text) { *text = "an imaginary error"; return 0; }
int cuGetErrorName(int error, const char **text) { *text = "CUDA_ERROR_IMAGINARY"; return 0; }

#ifdef CUDNN
size_t cudnnGetVersion(void) { return CUDNN; }
size_t cudnnGetCudartVersion(void) { return 99000; }
#endif
