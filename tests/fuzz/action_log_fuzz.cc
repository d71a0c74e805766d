// Whatever an action prints, in whatever pieces: one marker in the log, no control character, and
// no more than the limits allow.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "base/fs.h"
#include "job/action_log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const int memory = ::memfd_create("fuzz", MFD_CLOEXEC);
  const size_t piece = 1 + data[0];
  carrel::ActionLog log(carrel::UniqueFd(memory), 1u << (data[1] % 20));
  std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  for (size_t i = 0; !rest.empty(); ++i) {
    const auto stream = static_cast<carrel::ActionLog::Stream>(i & 1 & data[1]);
    if (!log.Write(stream, rest.substr(0, piece), 0)) abort();
    rest.remove_prefix(std::min(piece, rest.size()));
  }
  if (!log.WriteSummary({{"value", {reinterpret_cast<const char*>(data), size}}}, 0)) abort();
  ::lseek(memory, 0, SEEK_SET);
  auto text = carrel::ReadFd(memory, 64u << 20);
  if (!text) abort();
  const size_t marker = text->find(carrel::kSummaryMarker);
  if (marker == std::string::npos || text->rfind(carrel::kSummaryMarker) != marker) abort();
  for (char c : *text)
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') abort();
  return 0;
}
