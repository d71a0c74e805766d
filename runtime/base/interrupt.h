// Signals that ask carrel to stop while they are blocked (launch/supervisor.h, BlockSignals): work
// that can be long looks for them, and ends in good order.
#pragma once

#include "base/result.h"

namespace carrel {

/// True when TERM or INT is blocked and has come.
bool CancelPending();

/// kFault with the code ECANCELED when CancelPending.
Result<void> CheckCancelled();

}  // namespace carrel
