// SPDX-License-Identifier: Apache-2.0
// The backend "fake": in-memory guests without any isolation, for tests of what is above a backend. It speaks the real
// wire protocol over a real socket; its commands are a handful of built-in programs (programs.cpp, shell.cpp)
// and run nothing of the host. `auto` never picks it.
//
// A sandbox id that begins with one of these makes its guest misbehave:
//   fake-fail-launch    launch() is an error
//   fake-fail-hello     the guest runs but never says hello
//   fake-bad-version    its hello is of protocol version 99
//   fake-garbage        bytes that are no frame follow its hello
//   fake-die-on-exec    the guest ends when the first command would start
//   fake-silent         after its hello it reads and answers nothing
//   fake-bad-timer      the guest ends before its hello, as one whose kernel measured its timer wrongly; with -once,
//                       only at the backend's first launch of such an id
#pragma once

#include <memory>

#include "backend/backend.hpp"

namespace sandforge::backend {

std::unique_ptr<Backend> make_fake_backend();

}  // namespace sandforge::backend
