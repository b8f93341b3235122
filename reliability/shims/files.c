// Loaded into a process, this sees its system calls on files below the folder FAULTS_FOLDER, whichever library makes them: a filter of seccomp turns
// each into a signal, whose handler makes the call itself, from the one place that the filter lets pass.
//
// It can let calls fail, kill the process before one, and write down what each did. The first bytes of the file FAULTS_CONTROL, which the process may
// write to at any time, are struct control. FAULTS_LOG names a file that gets a record of each call that changes something.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

struct control {
  int64_t calls;   // seen so far: writes, syncs, renames and the like, and opens that may make a file
  int64_t at;      // the call that something happens to, counted from 1; 0: none
  int64_t what;    // an errno; or one of the following
  int64_t lasting; // whether it happens to all later calls too
  int64_t done;    // how often it has happened
};
enum { KILL = -1, SHORT = -2, KILL_HALF = -3 };

static struct control none, *control = &none;
static char folder[PATH_MAX];
static size_t folder_length;
static int log_fd = -1;
static volatile int busy;

// The one place from which calls pass.
#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define NUMBER(context) (context)->uc_mcontext.gregs[REG_RAX]
#define RESULT(context) (context)->uc_mcontext.gregs[REG_RAX]
static const int argument_registers[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};
#define ARGUMENT(context, i) (context)->uc_mcontext.gregs[argument_registers[i]]
__asm__(".text\n.global faults_call\n.hidden faults_call\nfaults_call:\n"
        "mov %rdi, %rax\nmov %rsi, %rdi\nmov %rdx, %rsi\nmov %rcx, %rdx\nmov %r8, %r10\nmov %r9, %r8\nmov 8(%rsp), %r9\n"
        "syscall\n.global faults_after\n.hidden faults_after\nfaults_after:\nret\n");
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#define NUMBER(context) (context)->uc_mcontext.regs[8]
#define RESULT(context) (context)->uc_mcontext.regs[0]
#define ARGUMENT(context, i) (context)->uc_mcontext.regs[i]
__asm__(".text\n.global faults_call\n.hidden faults_call\nfaults_call:\n"
        "mov x8, x0\nmov x0, x1\nmov x1, x2\nmov x2, x3\nmov x3, x4\nmov x4, x5\nmov x5, x6\n"
        "svc #0\n.global faults_after\n.hidden faults_after\nfaults_after:\nret\n");
#else
#error "this processor has no way to make the call"
#endif
long faults_call(long number, long a, long b, long c, long d, long e, long f);
extern const char faults_after[];
#define CALL(number, a, b, c) faults_call(number, (long)(a), (long)(b), (long)(c), 0, 0, 0)

// What the calls are, for those who read the log.
enum kind { OPEN = 1, WRITE, SYNC, RENAME, LINK, UNLINK, MKDIR, RMDIR, TRUNCATE, OTHER };

struct record {
  int32_t kind;
  int32_t length_a, length_b; // of two paths that follow, the second of a rename or link
  int32_t truncates;          // of an open, whether what was in the file goes
  int64_t offset, length; // of a write, whose bytes follow the paths; of a truncation the new length
};

// The path that a descriptor or a name stands for, if it lies in the folder.
static int within(const char *path) {
  return strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || path[folder_length] == 0);
}

static int path_of_descriptor(long descriptor, char *path) {
  char link[32];
  // No printf, which is not for handlers.
  char digits[12];
  int i = 12;
  digits[--i] = 0;
  for (long rest = descriptor; i > 0 && (rest > 0 || digits[i] == 0); rest /= 10) digits[--i] = '0' + rest % 10;
  strcpy(link, "/proc/self/fd/");
  strcat(link, digits + i);
  long length = faults_call(SYS_readlinkat, AT_FDCWD, (long)link, (long)path, PATH_MAX - 1, 0, 0);
  if (length <= 0) return 0;
  path[length] = 0;
  return within(path);
}

static int path_of_name(long descriptor, const char *name, char *path) {
  if (!name) return 0;
  if (name[0] == '/') strncpy(path, name, PATH_MAX - 1);
  else {
    if ((int)descriptor == AT_FDCWD) faults_call(SYS_getcwd, (long)path, PATH_MAX, 0, 0, 0, 0);
    else if (path_of_descriptor(descriptor, path), path[0] != '/') return 0;
    strncat(path, "/", PATH_MAX - strlen(path) - 1);
    strncat(path, name, PATH_MAX - strlen(path) - 1);
  }
  return within(path);
}

static void put(const void *bytes, size_t length) {
  while (length > 0) {
    long written = CALL(SYS_write, log_fd, bytes, length);
    if (written <= 0) return;
    bytes = (const char *)bytes + written;
    length -= written;
  }
}

struct call {
  enum kind kind;
  long descriptor; // of an open file
  char a[PATH_MAX], b[PATH_MAX];
  const void *bytes;
  long length, offset; // an offset of -1 is the file's own
  int truncates;       // of an open
};

// What a call is; 0 if it is not on a file of the folder or changes nothing.
static int classify(long number, ucontext_t *context, struct call *call) {
  long arguments[6];
  for (int i = 0; i < 6; i++) arguments[i] = ARGUMENT(context, i);
  const char *name = (const char *)arguments[0], *second = (const char *)arguments[1];
  call->descriptor = arguments[0];
  call->offset = -1;
  switch (number) {
#ifdef SYS_open
  case SYS_open: call->kind = OPEN; call->truncates = (arguments[1] & O_TRUNC) != 0; return (arguments[1] & (O_CREAT | O_TRUNC)) && path_of_name(AT_FDCWD, name, call->a);
  case SYS_rename: call->kind = RENAME; return path_of_name(AT_FDCWD, name, call->a) && path_of_name(AT_FDCWD, second, call->b);
  case SYS_link: call->kind = LINK; return path_of_name(AT_FDCWD, name, call->a) && path_of_name(AT_FDCWD, second, call->b);
  case SYS_unlink: call->kind = UNLINK; return path_of_name(AT_FDCWD, name, call->a);
  case SYS_mkdir: call->kind = MKDIR; return path_of_name(AT_FDCWD, name, call->a);
  case SYS_rmdir: call->kind = RMDIR; return path_of_name(AT_FDCWD, name, call->a);
#endif
  case SYS_openat: call->kind = OPEN; call->truncates = (arguments[2] & O_TRUNC) != 0; return (arguments[2] & (O_CREAT | O_TRUNC)) && path_of_name(arguments[0], second, call->a);
#ifdef SYS_renameat
  case SYS_renameat:
#endif
  case SYS_renameat2:
    call->kind = RENAME;
    return path_of_name(arguments[0], second, call->a) && path_of_name(arguments[2], (const char *)arguments[3], call->b);
  case SYS_linkat: {
    call->kind = LINK;
    // A file without a name is linked by its descriptor.
    if (!path_of_name(arguments[0], second, call->a)) strncpy(call->a, second, PATH_MAX - 1);
    return path_of_name(arguments[2], (const char *)arguments[3], call->b);
  }
  case SYS_unlinkat: call->kind = arguments[2] & AT_REMOVEDIR ? RMDIR : UNLINK; return path_of_name(arguments[0], second, call->a);
  case SYS_mkdirat: call->kind = MKDIR; return path_of_name(arguments[0], second, call->a);
  case SYS_write: call->kind = WRITE; call->bytes = second; call->length = arguments[2]; break;
  case SYS_pwrite64: call->kind = WRITE; call->bytes = second; call->length = arguments[2]; call->offset = arguments[3]; break;
  // Of many pieces the first is written, as the system may do: the caller writes the others.
  case SYS_writev: case SYS_pwritev: {
    const struct { void *base; size_t length; } *pieces = (const void *)arguments[1];
    call->kind = WRITE;
    call->bytes = pieces[0].base;
    call->length = pieces[0].length;
    if (number == SYS_pwritev) call->offset = arguments[3];
    break;
  }
  case SYS_fsync: case SYS_fdatasync: call->kind = SYNC; break;
  case SYS_ftruncate: call->kind = TRUNCATE; call->length = arguments[1]; break;
  case SYS_fchmod: case SYS_fallocate: case SYS_sendfile: case SYS_copy_file_range:
    call->kind = OTHER;
    if (number == SYS_copy_file_range) call->descriptor = arguments[2];
    break;
  default: return 0;
  }
  return path_of_descriptor(call->descriptor, call->a);
}

static void write_down(struct call *call, long result) {
  struct record record = {.kind = call->kind, .length_a = strlen(call->a), .length_b = strlen(call->b), .truncates = call->truncates, .length = call->length};
  if (call->kind == WRITE) {
    record.length = result;
    record.offset = call->offset >= 0 ? call->offset : CALL(SYS_lseek, call->descriptor, 0, SEEK_CUR) - result;
  }
  put(&record, sizeof record);
  put(call->a, record.length_a);
  put(call->b, record.length_b);
  if (call->kind == WRITE) put(call->bytes, record.length);
}

static void handle(int signal_number, siginfo_t *info, void *given) {
  (void)signal_number, (void)info;
  ucontext_t *context = given;
  int saved = errno;
  long number = NUMBER(context), arguments[6];
  for (int i = 0; i < 6; i++) arguments[i] = ARGUMENT(context, i);
  // Paths take room, which the stacks of some threads have not: one call after the other.
  static struct call call;
  while (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE)) faults_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
  memset(&call.kind, 0, sizeof call.kind);
  call.a[0] = call.b[0] = 0;
  call.length = call.truncates = 0;
  long result;
  if (!classify(number, context, &call)) {
    __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
    result = faults_call(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
  } else {
    int64_t place = ++control->calls, what = 0;
    if (control->at > 0 && (place == control->at || (control->lasting && place > control->at))) what = control->what;
    if (what != 0) control->done++;
    if (what == KILL) CALL(SYS_kill, CALL(SYS_getpid, 0, 0, 0), SIGKILL, 0);
    if ((what == SHORT || what == KILL_HALF) && call.kind == WRITE && call.length > 1) call.length /= 2;
    if (what > 0) result = -what;
    else if (call.kind == WRITE) result = call.offset >= 0 ? faults_call(SYS_pwrite64, arguments[0], (long)call.bytes, call.length, call.offset, 0, 0) : CALL(SYS_write, arguments[0], call.bytes, call.length);
    else result = faults_call(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
    if (what == KILL_HALF) CALL(SYS_kill, CALL(SYS_getpid, 0, 0, 0), SIGKILL, 0);
    if (log_fd >= 0 && result >= 0) write_down(&call, result);
    __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
  }
  RESULT(context) = result;
  errno = saved;
}

// Who blocks all signals for a moment, as libuv does before it writes to its own pipe, would be ended by the first call that the filter sees.
int pthread_sigmask(int how, const sigset_t *set, sigset_t *before) {
  sigset_t others;
  if (set != NULL && how != SIG_UNBLOCK) {
    others = *set;
    sigdelset(&others, SIGSYS);
    set = &others;
  }
  return sigprocmask(how, set, before) == 0 ? 0 : errno;
}

__attribute__((constructor)) static void begin(void) {
  const char *given = getenv("FAULTS_FOLDER"), *control_file = getenv("FAULTS_CONTROL"), *log_file = getenv("FAULTS_LOG");
  if (!given || !realpath(given, folder)) return;
  folder_length = strlen(folder);
  if (control_file) {
    int descriptor = open(control_file, O_RDWR | O_CLOEXEC);
    void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (page != MAP_FAILED) control = page;
    close(descriptor);
  }
  if (log_file) log_fd = open(log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
  sigaction(SIGSYS, &action, NULL);
  static const int numbers[] = {
#ifdef SYS_open
    SYS_open, SYS_rename, SYS_link, SYS_unlink, SYS_mkdir, SYS_rmdir,
#endif
#ifdef SYS_renameat
    SYS_renameat,
#endif
    SYS_openat, SYS_renameat2, SYS_linkat, SYS_unlinkat, SYS_mkdirat, SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev,
    SYS_fsync, SYS_fdatasync, SYS_ftruncate, SYS_fchmod, SYS_fallocate, SYS_sendfile, SYS_copy_file_range,
  };
  enum { COUNT = sizeof numbers / sizeof *numbers };
  struct sock_filter filter[COUNT * 2 + 9];
  int n = 0;
  uint64_t pass = (uint64_t)faults_after;
#define ADD(...) filter[n++] = (struct sock_filter)__VA_ARGS__
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)));
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)pass, 0, 1));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
  for (int i = 0; i < COUNT; i++) {
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)numbers[i], 0, 1));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
  }
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  struct sock_fprog program = {n, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    perror("faults: no filter of system calls");
    _exit(97);
  }
}
