// Loaded into a process, this counts the allocations that the addon makes, told by the address that malloc returns to, and lets one of them fail. Only
// those of a size: what is small and fixed ends the process when there is no memory for it, as in any Rust program. The first bytes of the file
// FAULTS_CONTROL, which the process may write to at any time, are struct control.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct control {
  int64_t calls;   // seen so far
  int64_t at;      // the one that fails, counted from 1; 0: none
  int64_t least;   // bytes from which on an allocation counts
  int64_t lasting; // whether all later ones fail too
  int64_t done;    // how many have failed
};
static struct control none, *control = &none;
static uintptr_t begin_, end_;

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static int find(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size, (void)data;
  size_t length = strlen(info->dlpi_name);
  if (length < 5 || strcmp(info->dlpi_name + length - 5, ".node") != 0) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[i];
    if (header->p_type != PT_LOAD || !(header->p_flags & PF_X)) continue;
    begin_ = info->dlpi_addr + header->p_vaddr;
    end_ = begin_ + header->p_memsz;
  }
  return 1;
}

// Only asked when the control says so, by when the addon is loaded.
static int fails(size_t size, uintptr_t from) {
  if (control->at <= 0 || (int64_t)size < control->least) return 0;
  if (end_ == 0) dl_iterate_phdr(find, NULL);
  if (from < begin_ || from >= end_) return 0;
  int64_t place = __atomic_add_fetch(&control->calls, 1, __ATOMIC_SEQ_CST);
  if (place != control->at && !(control->lasting && place > control->at)) return 0;
  __atomic_add_fetch(&control->done, 1, __ATOMIC_SEQ_CST);
  errno = ENOMEM;
  return 1;
}
#define FAILS(size) fails(size, (uintptr_t)__builtin_return_address(0))

void *malloc(size_t size) { return FAILS(size) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return FAILS(count * size) ? NULL : __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return FAILS(size) ? NULL : __libc_realloc(old, size); }
void *aligned_alloc(size_t alignment, size_t size) { return FAILS(size) ? NULL : __libc_memalign(alignment, size); }
int posix_memalign(void **result, size_t alignment, size_t size) {
  if (FAILS(size)) return ENOMEM;
  *result = __libc_memalign(alignment, size);
  return *result ? 0 : ENOMEM;
}
void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
  static void *(*next)(void *, size_t, int, int, int, off_t);
  if (!next) next = dlsym(RTLD_NEXT, "mmap");
  return FAILS(length) ? MAP_FAILED : next(address, length, protection, flags, descriptor, offset);
}
void *mmap64(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) __attribute__((alias("mmap")));

__attribute__((constructor)) static void begin(void) {
  const char *file = getenv("FAULTS_CONTROL");
  if (!file) return;
  int descriptor = open(file, O_RDWR | O_CLOEXEC);
  void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (page != MAP_FAILED) control = page;
  close(descriptor);
}
