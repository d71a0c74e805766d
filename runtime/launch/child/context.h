// What the parts of the child program share.
#pragma once

#include "launch/child/program.h"
#include "launch/child/raw.h"

namespace carrel::child {

// The state of one execution, on the child's stack.
struct Context {
  const Program& program;
  int root = -1;     // the root file system, from kAttachRoot on
  long call = 0;     // the system call that was made last
  size_t index = 0;  // the running step
};

// Makes a call and remembers which, so that a failure can name it.
template <typename... Args>
long Do(Context& context, long number, Args... args) {
  context.call = number;
  return Call(number, args...);
}

}  // namespace carrel::child
