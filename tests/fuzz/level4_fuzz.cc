// The level 4 checks read what the action chose to write. The first byte chooses the type.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "base/fs.h"
#include "job/level4_checks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const carrel::Level4Rules rules = [] {
    carrel::Level4Rules small;
    small.max_csv_rows = 20;
    small.max_filesize = 1u << 16;
    return small;
  }();
  const std::string type = rules.file_types[data[0] % rules.file_types.size()];
  const carrel::UniqueFd fd(::memfd_create("fuzz", MFD_CLOEXEC));
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (!carrel::WriteAll(fd.get(), text)) abort();
  auto verdict = carrel::CheckLevel4(fd.get(), "x" + type, rules);
  if (!verdict) abort();
  // What passes as text is text.
  const bool is_text = type == ".csv" || type == ".txt" || type == ".log" || type == ".json";
  if (is_text && !verdict->refusal && text.find('\0') != std::string_view::npos) abort();
  return 0;
}
