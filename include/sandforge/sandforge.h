/* SPDX-License-Identifier: Apache-2.0 */
/* The C ABI of libsandforge, and its manual: real, jailed Linux guests for code nobody trusts yet.
 * C11 and C++; everything else (sandforge.hpp, sandforged, the Python package) is built on this header alone. */
#ifndef SANDFORGE_SANDFORGE_H
#define SANDFORGE_SANDFORGE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#error "libsandforge supports Linux and macOS hosts"
#endif
#define SANDFORGE_API __attribute__((visibility("default")))

/* What the *_INIT macros of the structs below are: all zero but the size. */
#ifdef __cplusplus
#define SANDFORGE_INIT_(type) \
  ([] {                       \
    type made{};              \
    made.size = sizeof(type); \
    return made;              \
  }())
#else
#define SANDFORGE_INIT_(type) \
  { .size = sizeof(type) }
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* =====================================================================================================================
 * 1. Conventions
 *
 * Objects     Opaque or library-allocated. Every object has one `*_free` function; NULL is fine, order does not matter:
 *             an object that outlives the engine it came from answers SANDFORGE_DISCONNECTED. Freeing a *handle* never
 *             ends what it refers to (sandforge_sandbox_free leaves the guest running), with one exception that is said
 *             at sandforge_process_free.
 * Structs     First member is `size`; fill caller-made structs with their *_INIT macro. A smaller size (an older
 *             header) means the missing tail is zero; a larger one is accepted if its tail is zero, otherwise
 *             SANDFORGE_UNSUPPORTED. Structs made by the library are read-only, may grow at the end, and own the
 *             strings that they point to until freed.
 * Strings     NUL-terminated bytes; UTF-8 where they are names or messages, any bytes where they are guest paths,
 *             arguments or environment. NULL means "the default" unless a function says otherwise.
 * Errors      Fallible functions return a sandforge_code and store an owned sandforge_error in `*error` when it is not
 *             SANDFORGE_OK and `error` is not NULL. Other out-parameters are written on success only.
 * Threads     Every function may be called from any thread; calls on one object may overlap, except its `*_free`.
 *             Functions marked BLOCKS wait for the guest; the others answer at once. Callbacks run on the engine's own
 *             thread, never under a lock: they must be short and must not call a function marked BLOCKS.
 * Process     The library never exits or aborts your process on account of a guest, takes no signal but the blocking of
 *             all of them in its own thread, changes neither cwd, umask, environment nor stdio, opens every descriptor
 *             close-on-exec, starts one I/O thread per engine and a short-lived one for each create and destroy.
 *             Children are known by pidfd and reaped by the library.
 * ================================================================================================================== */

#define SANDFORGE_VERSION_MAJOR 0
#define SANDFORGE_VERSION_MINOR 1
#define SANDFORGE_VERSION_PATCH 0

/* Version of the library that runs, "MAJOR.MINOR.PATCH". Static storage. @since 0.1 */
SANDFORGE_API const char* sandforge_version(void);

/* ---------------------------------------------------------------------------------------------------------------------
 * 2. Errors. The code says what the caller should do; numbers are permanent (libsandforge/error_codes).
 * ------------------------------------------------------------------------------------------------------------------ */
typedef uint32_t sandforge_code;
enum {
  SANDFORGE_OK = 0,
  SANDFORGE_INVALID_ARGUMENT = 1, /* fix the call */
  SANDFORGE_UNSUPPORTED = 2,      /* not on this host or version: see the remedy */
  SANDFORGE_NOT_FOUND = 3,        /* no such sandbox, image, file */
  SANDFORGE_DENIED = 4,           /* permissions or policy */
  SANDFORGE_CONFLICT = 5,         /* exists already, or is in a state that forbids it */
  SANDFORGE_BUSY = 6,             /* try again soon */
  SANDFORGE_DISCONNECTED = 7,     /* the sandbox or its agent is gone */
  SANDFORGE_TIMED_OUT = 8,        /* not within the time given */
  SANDFORGE_EXHAUSTED = 9,        /* a limit, memory, disk or capacity is used up */
  SANDFORGE_GUEST_FAULT = 10,     /* the guest refused, failed or broke the protocol */
  SANDFORGE_CORRUPT = 11,         /* stored data is damaged: set aside, rebuild */
  SANDFORGE_INTERNAL = 12         /* our bug, or an unexpected failure of the host */
};

typedef struct sandforge_error sandforge_error;
SANDFORGE_API sandforge_code sandforge_error_code(const sandforge_error* error);
/* A stable machine word finer than the code, e.g. "id_taken", "invalid_spec", "image_missing"; never NULL. */
SANDFORGE_API const char* sandforge_error_reason(const sandforge_error* error);
/* One sentence for people; never NULL. Borrowed until the error is freed, as the two others are. */
SANDFORGE_API const char* sandforge_error_message(const sandforge_error* error);
/* What to do about it; "" when there is nothing to say. */
SANDFORGE_API const char* sandforge_error_remedy(const sandforge_error* error);
/* The rule of the policy that refused, e.g. "limits.cpu" (the keys of the policy file) or "mounts.builtin.credentials";
 * "" when no policy did. @since 0.1 */
SANDFORGE_API const char* sandforge_error_rule(const sandforge_error* error);
/* errno of the failed host or guest call, 0 when there was none. */
SANDFORGE_API int32_t sandforge_error_errno(const sandforge_error* error);
SANDFORGE_API void sandforge_error_free(sandforge_error* error);
/* "invalid_argument" and so on; "unknown" for numbers of a later version. Static storage. */
SANDFORGE_API const char* sandforge_code_name(sandforge_code code);

/* ---------------------------------------------------------------------------------------------------------------------
 * 3. Engine: owns every sandbox of one state directory, and one I/O thread.
 * ------------------------------------------------------------------------------------------------------------------ */
typedef uint32_t sandforge_log_level;
enum { SANDFORGE_LOG_ERROR = 1, SANDFORGE_LOG_WARN = 2, SANDFORGE_LOG_INFO = 3, SANDFORGE_LOG_DEBUG = 4 };
/* `message` is one line without newline, borrowed for the call. Any library thread. */
typedef void (*sandforge_log_fn)(void* user_data, sandforge_log_level level, const char* message);
/* "Something you asked for may be possible now": see the functions that take one. Engine thread; must not block. */
typedef void (*sandforge_notify_fn)(void* user_data);

/* What stands between a guest and the host. Ordered: a higher number is a stronger boundary. */
typedef uint32_t sandforge_isolation;
enum {
  SANDFORGE_ISOLATION_NONE = 0,        /* the in-memory fake, for tests */
  SANDFORGE_ISOLATION_USER_KERNEL = 1, /* user-space kernel */
  SANDFORGE_ISOLATION_SOFTWARE_VM = 2, /* virtual machine with an emulated CPU */
  SANDFORGE_ISOLATION_HARDWARE_VM = 3  /* virtual machine on hardware virtualisation */
};
/* "none", "user_kernel", "software_vm", "hardware_vm". Static storage. */
SANDFORGE_API const char* sandforge_isolation_name(sandforge_isolation isolation);

/* Who can ask an engine for sandboxes, which decides the policy's defaults. Numbers are permanent. */
typedef uint32_t sandforge_audience;
enum {
  SANDFORGE_AUDIENCE_LIBRARY = 0,  /* your own program */
  SANDFORGE_AUDIENCE_LOOPBACK = 1, /* whoever reaches your daemon on loopback or on a Unix socket of its user */
  SANDFORGE_AUDIENCE_REMOTE = 2    /* whoever reaches it from elsewhere: no host directory but those that a policy file
                                      lists, and no network mode "full" */
};

typedef struct sandforge_engine_options {
  size_t size;
  const char* state_dir;  /* sandboxes' records and disks. NULL: $SANDFORGE_STATE_DIR, else /var/lib/sandforge for
                             root, $XDG_STATE_HOME/sandforge or ~/.local/state/sandforge. One engine at a time. */
  const char* image_dir;  /* image store, may be shared. NULL: $SANDFORGE_IMAGE_DIR, else images/ in the same places;
                             $SANDFORGE_STATE_DIR does not move it */
  const char* helper_dir; /* agent and other helpers. NULL: $SANDFORGE_HELPER_DIR, next to the library, prefix */
  uint32_t max_sandboxes; /* 0: the default, 64 */
  sandforge_isolation min_isolation; /* auto never picks below it, a named backend below it is refused. 0: the
                                        default, SANDFORGE_ISOLATION_USER_KERNEL for `auto` */
  sandforge_log_fn log;              /* NULL: no log */
  void* log_user_data;
  sandforge_log_level log_level; /* 0: SANDFORGE_LOG_INFO */
  /* The policy: what sandboxes may have of this host (libsandforge/doc/policy.md). A TOML file, or its text; at most
   * one of them, read once. Both NULL: the defaults of `audience`. */
  const char* policy_file;
  const char* policy_text;
  sandforge_audience audience;
  /* Paths of your program that no mount may reach, beside the engine's own directories and the policy file: Unix
   * sockets that it listens on, files with tokens. */
  const char* const* protected_paths;
  size_t protected_path_count;
} sandforge_engine_options;
#define SANDFORGE_ENGINE_OPTIONS_INIT SANDFORGE_INIT_(sandforge_engine_options)

typedef struct sandforge_engine sandforge_engine;
/* Opens the state directory (created 0700 when missing), reaps what a killed predecessor left, starts the thread.
 * `options` NULL: all defaults. Errors: conflict (another engine holds the directory), invalid_argument (also
 * "invalid_policy", with file, line and column), denied, internal. @since 0.1 */
SANDFORGE_API sandforge_code sandforge_engine_create(const sandforge_engine_options* options, sandforge_engine** engine,
                                                     sandforge_error** error);
/* BLOCKS until every sandbox of the engine is destroyed and its thread has ended. */
SANDFORGE_API void sandforge_engine_free(sandforge_engine* engine);

/* ---------------------------------------------------------------------------------------------------------------------
 * 4. Backends and the host
 * ------------------------------------------------------------------------------------------------------------------ */
typedef struct sandforge_backend_info {
  size_t size;
  const char* name;              /* "linux-kvm", "linux-qemu", "fake", … */
  sandforge_isolation isolation; /* what it would give on this host */
  uint32_t available;            /* 1 when it probes well */
  const char* detail;            /* version and accelerator, or "" */
  const char* reason;            /* why it is not available, or "" */
  const char* remedy;            /* what to do about it, or "" */
} sandforge_backend_info;
typedef struct sandforge_backend_list {
  size_t size;
  size_t count;
  const sandforge_backend_info* const* items; /* in the order in which `auto` prefers them */
} sandforge_backend_list;
/* Probes every backend anew (a few ms). */
SANDFORGE_API sandforge_code sandforge_engine_backends(sandforge_engine* engine, sandforge_backend_list** list,
                                                       sandforge_error** error);
SANDFORGE_API void sandforge_backend_list_free(sandforge_backend_list* list);

typedef struct sandforge_check {
  size_t size;
  const char* name;   /* e.g. "kvm", "qemu", "image", "state_dir" */
  uint32_t status;    /* 0 fine, 1 works but could be better, 2 stops sandboxes from working */
  const char* detail; /* what was found */
  const char* remedy; /* what to do, "" when fine */
} sandforge_check;
typedef struct sandforge_check_list {
  size_t size;
  size_t count;
  const sandforge_check* const* items;
} sandforge_check_list;
/* What this host can do. Needs no engine and changes nothing; `options` as for sandforge_engine_create. */
SANDFORGE_API sandforge_code sandforge_doctor(const sandforge_engine_options* options, sandforge_check_list** list,
                                              sandforge_error** error);
SANDFORGE_API void sandforge_check_list_free(sandforge_check_list* list);

/* One value of a policy. `value` is TOML; `origin` says which line of which file set it, or that it is built in. */
typedef struct sandforge_policy_setting {
  size_t size;
  const char* key; /* "limits.cpu", as in the policy file */
  const char* value;
  const char* origin;
} sandforge_policy_setting;
typedef struct sandforge_policy_setting_list {
  size_t size;
  size_t count;
  const sandforge_policy_setting* const* items; /* in the order of doc/policy.md */
} sandforge_policy_setting_list;
/* The whole policy that an engine of these options would have; needs no engine, starts nothing. Errors:
 * invalid_argument "invalid_policy", those of reading the file. @since 0.1 */
SANDFORGE_API sandforge_code sandforge_policy_check(const sandforge_engine_options* options,
                                                    sandforge_policy_setting_list** list, sandforge_error** error);
/* The policy of a running engine. @since 0.1 */
SANDFORGE_API sandforge_code sandforge_engine_policy(sandforge_engine* engine, sandforge_policy_setting_list** list,
                                                     sandforge_error** error);
SANDFORGE_API void sandforge_policy_setting_list_free(sandforge_policy_setting_list* list);

/* Every limit that applies, by name ("memory_mb_max", …), for people and for GET /v1/info. Static storage. */
typedef struct sandforge_limit {
  const char* name;
  uint64_t value;
} sandforge_limit;
SANDFORGE_API const sandforge_limit* sandforge_limits(size_t* count);

/* ---------------------------------------------------------------------------------------------------------------------
 * 5. Sandboxes
 *
 *   requested -> provisioning -> ready <-> executing | writing_file | copying_artifacts
 *        \            |            |            |
 *         \           v            v            v
 *          `------> error      destroying -> destroyed        (error -> destroying too)
 * ------------------------------------------------------------------------------------------------------------------ */
typedef uint32_t sandforge_state;
enum {
  SANDFORGE_STATE_REQUESTED = 0,
  SANDFORGE_STATE_PROVISIONING = 1,
  SANDFORGE_STATE_READY = 2,
  SANDFORGE_STATE_EXECUTING = 3,
  SANDFORGE_STATE_INTERACTIVE = 4,
  SANDFORGE_STATE_WRITING_FILE = 5,
  SANDFORGE_STATE_COPYING_ARTIFACTS = 6,
  SANDFORGE_STATE_PAUSED = 7,
  SANDFORGE_STATE_DESTROYING = 8,
  SANDFORGE_STATE_DESTROYED = 9,
  SANDFORGE_STATE_ERROR = 10
};
/* "ready" and so on, the words of the HTTP API. Static storage. */
SANDFORGE_API const char* sandforge_state_name(sandforge_state state);

typedef struct sandforge_mount {
  const char* host_path;
  const char* guest_path;
  uint32_t read_only;
} sandforge_mount;

/* Numbers are signed so that nonsense is refused in one place, with a text; 0 always means the default. */
typedef struct sandforge_sandbox_spec {
  size_t size;
  const char* id;             /* [A-Za-z0-9][A-Za-z0-9_.-]{0,127}; NULL: "sbx-" + 16 hex digits */
  const char* backend;        /* NULL, "" or "auto": the best that probes well */
  const char* image;          /* NULL: "default" */
  int64_t cpu;                /* vCPUs; default 2 */
  int64_t memory_mb;          /* MiB; default 512 */
  int64_t disk_gb;            /* GiB of private disk; default 10 */
  int64_t timeout_sec;        /* life from ready on, in seconds; default 3600 */
  const char* network_mode;   /* NULL, "" or "offline"; "fetch", "full" */
  const char* task_isolation; /* NULL, "" or "container"; "process" */
  const sandforge_mount* mounts;
  size_t mount_count;
} sandforge_sandbox_spec;
#define SANDFORGE_SANDBOX_SPEC_INIT SANDFORGE_INIT_(sandforge_sandbox_spec)

typedef struct sandforge_sandbox_info {
  size_t size;
  const char* id;
  sandforge_state state;
  const char* backend; /* the one that was really used */
  sandforge_isolation isolation;
  const char* image;        /* name, as asked for */
  const char* image_digest; /* "sha256:…", "" for backends without images */
  int64_t cpu, memory_mb, disk_gb, timeout_sec;
  const char* network_mode;
  const char* task_isolation;
  int64_t created_at;         /* Unix seconds */
  int64_t expires_at;         /* Unix seconds; 0 before ready */
  uint64_t ready_after_ns;    /* create call to ready; 0 before */
  uint64_t guest_hello_ns;    /* the guest's CLOCK_MONOTONIC when its agent said hello */
  const char* failure;        /* why the state is error, or why it was destroyed; "" otherwise */
  const char* failure_reason; /* machine word for it */
} sandforge_sandbox_info;

typedef struct sandforge_sandbox sandforge_sandbox;

/* BLOCKS until the sandbox is ready or has failed. `spec` NULL: all defaults. A create that fails after validation
 * leaves a record in state error (under its id) that tells why and can be destroyed.
 * Mounts are judged by where their host paths lead, which waits for the file systems that they are on.
 * Errors: invalid_argument, denied ("policy_denied", with the rule), unsupported, not_found (image), conflict
 * (id_taken), exhausted (no_capacity), denied, timed_out, guest_fault, corrupt, internal. @since 0.1 */
SANDFORGE_API sandforge_code sandforge_sandbox_create(sandforge_engine* engine, const sandforge_sandbox_spec* spec,
                                                      sandforge_sandbox** sandbox, sandforge_error** error);
/* The same without waiting: validates, registers the id and returns a handle in state requested. `notify` (may be
 * NULL) is called once, when sandforge_sandbox_wait(…, 0, …) would answer. */
SANDFORGE_API sandforge_code sandforge_sandbox_create_begin(sandforge_engine* engine,
                                                            const sandforge_sandbox_spec* spec,
                                                            sandforge_notify_fn notify, void* user_data,
                                                            sandforge_sandbox** sandbox, sandforge_error** error);
/* BLOCKS for at most `timeout_ms` (-1: no limit) until the sandbox is ready (OK) or has failed (the create's error).
 * Neither in time: timed_out, with the reason "not_yet"; 0 asks without waiting. */
SANDFORGE_API sandforge_code sandforge_sandbox_wait(sandforge_sandbox* sandbox, int64_t timeout_ms,
                                                    sandforge_error** error);
/* A new handle on a sandbox of this engine, tombstones included. Errors: not_found. */
SANDFORGE_API sandforge_code sandforge_sandbox_open(sandforge_engine* engine, const char* id,
                                                    sandforge_sandbox** sandbox, sandforge_error** error);
/* Ends the guest, waits until nothing is left of it (BLOCKS, below 1 s), keeps a tombstone. Idempotent: the second of
 * two calls waits for the first and answers OK. */
SANDFORGE_API sandforge_code sandforge_sandbox_destroy(sandforge_sandbox* sandbox, sandforge_error** error);
SANDFORGE_API void sandforge_sandbox_free(sandforge_sandbox* sandbox);
/* The id; borrowed from the handle. */
SANDFORGE_API const char* sandforge_sandbox_id(const sandforge_sandbox* sandbox);
SANDFORGE_API sandforge_code sandforge_sandbox_get_info(sandforge_sandbox* sandbox, sandforge_sandbox_info** info,
                                                        sandforge_error** error);
SANDFORGE_API void sandforge_sandbox_info_free(sandforge_sandbox_info* info);

/* What the policy says about one part of a spec. */
typedef struct sandforge_policy_verdict {
  size_t size;
  const char* part;    /* "cpu", "mounts[0].host_path" */
  uint32_t allowed;    /* 1: yes */
  const char* rule;    /* what decided, as sandforge_error_rule */
  const char* reason;  /* one sentence */
  const char* remedy;  /* "" when allowed */
  sandforge_code code; /* SANDFORGE_OK, SANDFORGE_DENIED; others when the part is wrong whatever a policy says, such as
                          a host path that is missing */
} sandforge_policy_verdict;
typedef struct sandforge_policy_verdict_list {
  size_t size;
  size_t count;
  const sandforge_policy_verdict* const* items;
} sandforge_policy_verdict_list;
/* What a create of this spec would be told, part by part; needs no engine and makes nothing. Not judged: the isolation
 * that a backend gives on this host, and the number of sandboxes. Errors: invalid_argument (also "invalid_policy",
 * "invalid_spec"), those of reading the policy file. @since 0.1 */
SANDFORGE_API sandforge_code sandforge_policy_explain(const sandforge_engine_options* options,
                                                      const sandforge_sandbox_spec* spec,
                                                      sandforge_policy_verdict_list** list, sandforge_error** error);
SANDFORGE_API void sandforge_policy_verdict_list_free(sandforge_policy_verdict_list* list);

typedef struct sandforge_sandbox_list {
  size_t size;
  size_t count;
  const sandforge_sandbox_info* const* items; /* by created_at, then id; tombstones left out */
} sandforge_sandbox_list;
SANDFORGE_API sandforge_code sandforge_engine_list(sandforge_engine* engine, sandforge_sandbox_list** list,
                                                   sandforge_error** error);
SANDFORGE_API void sandforge_sandbox_list_free(sandforge_sandbox_list* list);

/* A directory of the host as a sandbox sees it: those of its spec, and those that came later. */
typedef struct sandforge_mount_info {
  size_t size;
  const char* host_path; /* as given */
  const char* guest_path;
  uint32_t read_only;
  const char* failure; /* why nothing can be had from it any more; "" otherwise */
} sandforge_mount_info;
typedef struct sandforge_mount_list {
  size_t size;
  size_t count;
  const sandforge_mount_info* const* items; /* in the order in which they came */
} sandforge_mount_list;
/* Mounts one more directory of the host; running commands see it. Missing directories of the guest path are made.
 * BLOCKS. Errors: invalid_argument (invalid_spec, invalid_host_path), denied (policy_denied, host_path_denied),
 * not_found (host_path_missing), conflict (not_ready), unsupported (a backend without mounts), disconnected.
 * @since 0.1 */
SANDFORGE_API sandforge_code sandforge_sandbox_mount(sandforge_sandbox* sandbox, const sandforge_mount* mount,
                                                     sandforge_error** error);
/* Takes it away again; running commands keep what they have open in it, until they close it. BLOCKS.
 * Errors: not_found (no_mount), conflict (not_ready), disconnected. @since 0.1 */
SANDFORGE_API sandforge_code sandforge_sandbox_unmount(sandforge_sandbox* sandbox, const char* guest_path,
                                                       sandforge_error** error);
SANDFORGE_API sandforge_code sandforge_sandbox_mounts(sandforge_sandbox* sandbox, sandforge_mount_list** list,
                                                      sandforge_error** error);
SANDFORGE_API void sandforge_mount_list_free(sandforge_mount_list* list);

/* ---------------------------------------------------------------------------------------------------------------------
 * 6. Commands
 * ------------------------------------------------------------------------------------------------------------------ */
/* What ended a command; the first cause wins. Numbers are permanent. */
typedef uint32_t sandforge_ended_by;
enum {
  SANDFORGE_ENDED_BY_EXIT = 0,
  SANDFORGE_ENDED_BY_SIGNAL = 1,
  SANDFORGE_ENDED_BY_TIMEOUT = 2,
  SANDFORGE_ENDED_BY_OOM = 3,
  SANDFORGE_ENDED_BY_OUTPUT_CAP = 4,
  SANDFORGE_ENDED_BY_KILLED = 5, /* by this API: process_kill, process_free, sandbox_destroy */
  SANDFORGE_ENDED_BY_POLICY = 6,
  SANDFORGE_ENDED_BY_VM_CRASH = 7,
  SANDFORGE_ENDED_BY_AGENT_LOST = 8
};
/* "exit" and so on. Static storage. */
SANDFORGE_API const char* sandforge_ended_by_name(sandforge_ended_by ended_by);

typedef struct sandforge_exec_spec {
  size_t size;
  const char* const* argv; /* at least one, the first not empty; looked up in the task's PATH */
  size_t argc;
  const char* const* env; /* "KEY=VALUE", added to PATH, HOME and LANG */
  size_t envc;
  const char* cwd;        /* NULL or "": "/" */
  const char* user;       /* NULL or "": root; a name from the guest's /etc/passwd or a number */
  int64_t timeout_ms;     /* 0: none but the sandbox's own life */
  const void* stdin_data; /* sandforge_sandbox_exec only: given to the command, then end of file */
  size_t stdin_len;
  uint64_t output_cap;   /* sandforge_sandbox_exec only: bytes kept of each stream, the rest is drained and counted;
                            0: the default, 16 MiB */
  uint32_t stream_stdin; /* sandforge_sandbox_start only: 1 to write stdin; otherwise it is empty */
  uint64_t memory_max;   /* bytes, 0: no limit but the guest's memory */
  uint32_t pids_max;     /* 0: the default, 4096 */
} sandforge_exec_spec;
#define SANDFORGE_EXEC_SPEC_INIT SANDFORGE_INIT_(sandforge_exec_spec)

typedef struct sandforge_exec_result {
  size_t size;
  int32_t exit_code; /* of the command; 128+n for a signal, 124 time-out, 127 not found, 126 not startable,
                        137 when the sandbox ended */
  sandforge_ended_by ended_by;
  int32_t signal;             /* 0 unless ended by one */
  uint32_t truncated;         /* 1 when output_cap cut what is kept */
  const uint8_t* stdout_data; /* never NULL; bytes as written */
  size_t stdout_len;
  const uint8_t* stderr_data;
  size_t stderr_len;
  uint64_t stdout_total; /* bytes that the command wrote */
  uint64_t stderr_total;
  uint64_t wall_ns;     /* start to end of the command in the guest */
  uint64_t cpu_ns;      /* of the whole tree, by cgroup */
  uint64_t memory_peak; /* bytes, by cgroup; 0 when unknown */
  const char* reason;   /* one line on how it ended, "" when it just exited */
} sandforge_exec_result;

/* Runs a command and collects its output. BLOCKS until it ended. A command that fails, times out or cannot be started
 * is OK with that result; an error means that no verdict exists. Errors: invalid_argument, denied ("policy_denied"),
 * conflict (not ready), disconnected (destroyed). */
SANDFORGE_API sandforge_code sandforge_sandbox_exec(sandforge_sandbox* sandbox, const sandforge_exec_spec* spec,
                                                    sandforge_exec_result** result, sandforge_error** error);
SANDFORGE_API void sandforge_exec_result_free(sandforge_exec_result* result);

/* A running command. Output waits in a bounded window: a reader that stops reading stops the command, nobody else. */
typedef struct sandforge_process sandforge_process;
/* Starts a command without waiting. `notify` (may be NULL) is called when output, space for input or the end may be
 * there; it is level-triggered: not again until a read, write or wait answered "nothing now". */
SANDFORGE_API sandforge_code sandforge_sandbox_start(sandforge_sandbox* sandbox, const sandforge_exec_spec* spec,
                                                     sandforge_notify_fn notify, void* user_data,
                                                     sandforge_process** process, sandforge_error** error);
enum { SANDFORGE_STDOUT = 1, SANDFORGE_STDERR = 2 };
/* BLOCKS for at most timeout_ms (-1: no limit, 0: never). OK with *count > 0, OK with *count == 0 at end of stream,
 * SANDFORGE_TIMED_OUT when nothing came (no error object is made for it). */
SANDFORGE_API sandforge_code sandforge_process_read(sandforge_process* process, uint32_t stream, void* buffer,
                                                    size_t capacity, int64_t timeout_ms, size_t* count,
                                                    sandforge_error** error);
/* As read: takes what fits, at least one byte, into *count. Errors: timed_out, conflict (no stdin, or closed),
 * disconnected (the command no longer reads). */
SANDFORGE_API sandforge_code sandforge_process_write(sandforge_process* process, const void* data, size_t length,
                                                     int64_t timeout_ms, size_t* count, sandforge_error** error);
SANDFORGE_API sandforge_code sandforge_process_close_stdin(sandforge_process* process, sandforge_error** error);
/* Sends a signal (a Linux number) to the command itself. */
SANDFORGE_API sandforge_code sandforge_process_signal(sandforge_process* process, int32_t signal_number,
                                                      sandforge_error** error);
/* Ends the whole tree; its verdict is `killed`. Answers at once; wait tells the end. */
SANDFORGE_API sandforge_code sandforge_process_kill(sandforge_process* process, sandforge_error** error);
/* BLOCKS for at most timeout_ms. The result has no output bytes, but their totals. Output not read yet stays readable.
 * The end is told once all output has arrived or was given up. */
SANDFORGE_API sandforge_code sandforge_process_wait(sandforge_process* process, int64_t timeout_ms,
                                                    sandforge_exec_result** result, sandforge_error** error);
/* Ends the command if it still runs (as kill does), without waiting. After it returns, notify is not called again. */
SANDFORGE_API void sandforge_process_free(sandforge_process* process);

/* ---------------------------------------------------------------------------------------------------------------------
 * 7. Files of the guest. Paths are absolute guest paths; the last symlink is followed unless said otherwise.
 * Errors of all: invalid_argument, not_found, denied, conflict (exists, not a directory, is a directory, not empty),
 * exhausted (guest disk full), guest_fault, disconnected, timed_out (no progress for 30 s).
 * ------------------------------------------------------------------------------------------------------------------ */
typedef struct sandforge_file_info {
  size_t size;
  const char* name; /* last component, raw bytes */
  const char* path;
  uint64_t length; /* bytes */
  uint32_t mode;   /* POSIX st_mode, type bits included */
  uint32_t uid, gid;
  int64_t modified_at; /* Unix seconds */
  uint32_t modified_nsec;
  const char* link_target; /* of a symlink in a listing, else "" */
} sandforge_file_info;
typedef struct sandforge_file_list {
  size_t size;
  size_t count;
  const sandforge_file_info* const* items; /* sorted by name, bytewise; symlinks not followed */
} sandforge_file_list;
typedef struct sandforge_buffer {
  size_t size;
  const uint8_t* data; /* never NULL */
  size_t length;
} sandforge_buffer;

/* Whole file of at most `max_length` bytes (0: the default, 16 MiB); a larger one is SANDFORGE_EXHAUSTED with reason
 * "too_large". BLOCKS, as all of this section do. */
SANDFORGE_API sandforge_code sandforge_sandbox_read_file(sandforge_sandbox* sandbox, const char* path,
                                                         uint64_t max_length, sandforge_buffer** buffer,
                                                         sandforge_error** error);
SANDFORGE_API void sandforge_buffer_free(sandforge_buffer* buffer);
/* Creates or replaces atomically; missing parent directories are made. `mode` 0: 0644, or what the old file has. */
SANDFORGE_API sandforge_code sandforge_sandbox_write_file(sandforge_sandbox* sandbox, const char* path,
                                                          const void* data, size_t length, uint32_t mode,
                                                          sandforge_error** error);
SANDFORGE_API sandforge_code sandforge_sandbox_list_files(sandforge_sandbox* sandbox, const char* path,
                                                          sandforge_file_list** list, sandforge_error** error);
SANDFORGE_API void sandforge_file_list_free(sandforge_file_list* list);
SANDFORGE_API sandforge_code sandforge_sandbox_stat(sandforge_sandbox* sandbox, const char* path,
                                                    sandforge_file_info** info, sandforge_error** error);
SANDFORGE_API void sandforge_file_info_free(sandforge_file_info* info);
/* A symlink itself is removed, never followed; a directory that is not empty only with `recursive`. */
SANDFORGE_API sandforge_code sandforge_sandbox_remove(sandforge_sandbox* sandbox, const char* path, uint32_t recursive,
                                                      sandforge_error** error);
SANDFORGE_API sandforge_code sandforge_sandbox_rename(sandforge_sandbox* sandbox, const char* from, const char* to,
                                                      sandforge_error** error);
/* `mode` 0: 0755. `parents`: make missing ones, and an existing directory is fine. */
SANDFORGE_API sandforge_code sandforge_sandbox_mkdir(sandforge_sandbox* sandbox, const char* path, uint32_t mode,
                                                     uint32_t parents, sandforge_error** error);

/* A file being streamed, of any size, in bounded memory. */
typedef struct sandforge_file sandforge_file;
/* From `offset` on, `length` bytes or to the end (UINT64_MAX). */
SANDFORGE_API sandforge_code sandforge_sandbox_open_read(sandforge_sandbox* sandbox, const char* path, uint64_t offset,
                                                         uint64_t length, sandforge_file** file,
                                                         sandforge_error** error);
/* The new content appears under `path` at sandforge_file_finish and not before. */
SANDFORGE_API sandforge_code sandforge_sandbox_open_write(sandforge_sandbox* sandbox, const char* path, uint32_t mode,
                                                          sandforge_file** file, sandforge_error** error);
/* Next bytes; *count == 0 at the end. */
SANDFORGE_API sandforge_code sandforge_file_read(sandforge_file* file, void* buffer, size_t capacity, size_t* count,
                                                 sandforge_error** error);
/* Takes all of `length`. */
SANDFORGE_API sandforge_code sandforge_file_write(sandforge_file* file, const void* data, size_t length,
                                                  sandforge_error** error);
/* Of the file as opened for reading. Borrowed. NULL when open for writing. */
SANDFORGE_API const sandforge_file_info* sandforge_file_get_info(const sandforge_file* file);
/* Ends a write: the file is complete and in place when this answers OK. */
SANDFORGE_API sandforge_code sandforge_file_finish(sandforge_file* file, sandforge_error** error);
/* A write that was not finished leaves nothing behind. */
SANDFORGE_API void sandforge_file_free(sandforge_file* file);

/* ---------------------------------------------------------------------------------------------------------------------
 * 8. Images: kernel, modules and root file system under one digest. No engine is needed.
 * ------------------------------------------------------------------------------------------------------------------ */
typedef struct sandforge_image_info {
  size_t size;
  const char* name;
  const char* digest;         /* "sha256:" + 64 hex digits, of the manifest */
  const char* recipe_digest;  /* what `build` compares to tell whether there is work; "" for imports */
  const char* kernel_release; /* e.g. "6.1.0-40-cloud-amd64" */
  uint64_t kernel_bytes, modules_bytes, root_bytes;
  int64_t created_at;   /* Unix seconds */
  const char* manifest; /* the whole manifest, TOML */
} sandforge_image_info;
typedef struct sandforge_image_list {
  size_t size;
  size_t count;
  const sandforge_image_info* const* items; /* by name */
} sandforge_image_list;
/* A long step started, went on or ended. `done` of `total` units (total 0: unknown). Borrowed for the call; called on
 * the thread of the build. */
typedef void (*sandforge_progress_fn)(void* user_data, const char* step, uint64_t done, uint64_t total);

typedef struct sandforge_image_options {
  size_t size;
  const char* image_dir; /* as in sandforge_engine_options */
  const char* helper_dir;
  sandforge_progress_fn progress; /* NULL: silent */
  void* user_data;
  /* Of sandforge_image_build: "stock", the distribution's kernel package; "built", compiled from the distribution's
   * kernel source with Sandforge's own small configuration (minutes, once per version of it; needs a C compiler).
   * NULL: what the recipe says, which is "stock" for the built-in one. */
  const char* kernel;
} sandforge_image_options;
#define SANDFORGE_IMAGE_OPTIONS_INIT SANDFORGE_INIT_(sandforge_image_options)

/* Builds image `name` (NULL: "default") by a recipe file (NULL: the built-in default recipe). Does nothing but answer
 * when the store has an image of that name and recipe digest already, unless `force`. BLOCKS for minutes.
 * Errors: invalid_argument (recipe, with line), unsupported (a tool is missing: the remedy names the package),
 * exhausted (disk), disconnected (package mirror), internal. */
SANDFORGE_API sandforge_code sandforge_image_build(const sandforge_image_options* options, const char* name,
                                                   const char* recipe_path, uint32_t force, sandforge_image_info** info,
                                                   sandforge_error** error);
/* Takes a root file system (a directory, a tar, or an OCI layout: a directory or a tar of one) as image `name`;
 * `kernel_path` is a bzImage or vmlinux with its modules in the root file system, NULL: kernel and modules of image
 * "default". BLOCKS. */
SANDFORGE_API sandforge_code sandforge_image_import(const sandforge_image_options* options, const char* name,
                                                    const char* root_path, const char* kernel_path,
                                                    sandforge_image_info** info, sandforge_error** error);
SANDFORGE_API sandforge_code sandforge_image_list_all(const sandforge_image_options* options,
                                                      sandforge_image_list** list, sandforge_error** error);
/* Checks every blob against its digest too. Errors: not_found, corrupt. */
SANDFORGE_API sandforge_code sandforge_image_inspect(const sandforge_image_options* options, const char* name,
                                                     sandforge_image_info** info, sandforge_error** error);
/* Removes the name, and blobs that no other image uses. */
SANDFORGE_API sandforge_code sandforge_image_remove(const sandforge_image_options* options, const char* name,
                                                    sandforge_error** error);
SANDFORGE_API void sandforge_image_info_free(sandforge_image_info* info);
SANDFORGE_API void sandforge_image_list_free(sandforge_image_list* list);

#ifdef __cplusplus
}
#endif
#endif
