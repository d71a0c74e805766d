#include "base/interrupt.h"

#include <signal.h>

namespace carrel {

bool CancelPending() {
  sigset_t pending;
  sigemptyset(&pending);
  return ::sigpending(&pending) == 0 &&
         (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

Result<void> CheckCancelled() {
  if (!CancelPending()) return {};
  return SysFault("cancelled", "a signal asked carrel to stop", ECANCELED);
}

}  // namespace carrel
