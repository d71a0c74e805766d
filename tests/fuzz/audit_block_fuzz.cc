// A block of an audit log, as anybody could have written it: header, columns, rows, and what is
// printed of them.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "audit/block.h"
#include "audit/block_decoder.h"
#include "audit/render.h"
#include "audit/syscall_names.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace carrel;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto header = ReadBlockHeader(bytes);
  if (!header || header->header_bytes + header->payload_bytes > size) return 0;
  static BlockDecoder decoder;  // to make one takes longer than what is tested
  if (!decoder.Open(*header, bytes.substr(header->header_bytes, header->payload_bytes))) return 0;
  AuditEvent event;
  for (;;) {
    auto more = decoder.Next(event);
    if (!more || !*more) return 0;
    for (const Datum& datum : event.data) {
      (void)Printable(datum.bytes);
      (void)SocketAddress(datum.bytes);
    }
    (void)Printable(event.file.path);
    (void)Utf8(event.task.comm);
    (void)EventText(event);
    (void)ErrorOf(event);
    (void)ExitText(event.code);
    (void)SyscallName(event.nr, (event.flags & kCallCompat) != 0);
  }
}
