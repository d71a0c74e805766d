// Exit statuses of database tools, as the job agent explains them to researchers.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace sqlrunner {

enum class Exit {
  kArguments = 2,
  kTransient = 3,  ///< trying again can help: the server is away, busy or restarting
  kDatabase = 5,
  kTooComplex = 6,
  kDataFile = 11,
  kPermission = 12,
  kTooSlow = 14,
};

/// `message` goes to the action's log, which people read who may not see data: it never holds a
/// value from the database, nor the credentials.
struct Failure {
  Exit exit;
  std::string message;
};

template <typename T = void>
using Outcome = tl::expected<T, Failure>;

inline tl::unexpected<Failure> Fail(Exit exit, std::string message) {
  return tl::unexpected<Failure>({exit, std::move(message)});
}

}  // namespace sqlrunner
