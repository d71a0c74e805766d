// Result<T>: a value or an Error, checked by the compiler. Errors travel; one place (cli/) prints.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace carrel {

/// Who has to act. The number is the exit status of the command.
enum class ErrorKind {
  kBadInput = 2,  ///< the definition, a file or an option is wrong; nothing was changed
  kRefused = 3,   ///< well formed, but the policy or a control does not permit it
  kFault = 70,    ///< carrel or the host failed (EX_SOFTWARE)
};

/// What happened, where, and what to do about it.
struct Error {
  ErrorKind kind = ErrorKind::kFault;
  std::string what;   ///< one sentence, no trailing full stop
  std::string where;  ///< JSON pointer, path inside the job, or step; may be empty
  std::string hint;   ///< what the reader can do; may be empty
  int code = 0;       ///< errno, or 0

  /// "where: what: ENOENT (No such file or directory). hint"
  std::string ToString() const;
};

Error BadInput(std::string where, std::string what, std::string hint = "");
Error Refused(std::string where, std::string what, std::string hint = "");
Error Fault(std::string where, std::string what, std::string hint = "");
/// A failed system call: takes errno (or `code`) and keeps it. "what" names the call and its
/// object.
Error SysFault(std::string where, std::string what, int code = errno);

/// The symbolic name of an errno ("ENOENT"), or its number as text.
std::string ErrnoName(int code);

template <typename T = void>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using Base = tl::expected<T, Error>;
  using Base::Base;
  Result(Error error) : Base(tl::unexpect, std::move(error)) {}  // NOLINT: implicit by design
  Result(Base base) : Base(std::move(base)) {}                   // NOLINT
};

}  // namespace carrel

#define CARREL_CONCAT_INNER(a, b) a##b
#define CARREL_CONCAT(a, b) CARREL_CONCAT_INNER(a, b)

/// Returns the error of `expr` to the caller, if it is one.
#define CARREL_TRY(expr)                                     \
  do {                                                       \
    if (auto try_result_ = (expr); !try_result_.has_value()) \
      return std::move(try_result_).error();                 \
  } while (0)

/// Declares `decl` with the value of `expr`, or returns its error to the caller.
#define CARREL_ASSIGN(decl, expr) \
  CARREL_ASSIGN_INNER(CARREL_CONCAT(assign_result_, __LINE__), decl, expr)
#define CARREL_ASSIGN_INNER(name, decl, expr)            \
  auto name = (expr);                                    \
  if (!name.has_value()) return std::move(name).error(); \
  decl = std::move(*name)
