// Records of a ring, in any order and of any content: what is written of them can be read again,
// with the same calls.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "audit/block_decoder.h"
#include "audit/block_encoder.h"
#include "audit/recorder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace carrel;
  // Kept: to make them takes a hundred times as long as what is tested.
  static BlockEncoder encoder;
  static BlockWriter writer;
  static BlockDecoder decoder;
  encoder.Reset();
  Recorder recorder(encoder);
  for (size_t at = 0; at + sizeof(RawHead) <= size;) {
    RawHead head;
    std::memcpy(&head, data + at, sizeof head);
    const size_t length = head.size < sizeof head ? sizeof head : head.size;
    if (at + length > size) break;
    // A copy of exactly its size: the sanitizer sees a byte too many.
    const std::string record(reinterpret_cast<const char*>(data + at), length);
    (void)recorder.Add(record.data(), record.size()).has_value();
    at += length;
  }
  if (encoder.rows() == 0) return 0;
  Hash hash;
  auto block = writer.Write(encoder.Header(), encoder.Columns(), &hash);
  if (!block) abort();
  auto header = ReadBlockHeader(*block);
  if (!header) abort();
  if (!decoder.Open(*header, block->substr(header->header_bytes))) abort();
  AuditEvent event;
  uint32_t rows = 0;
  for (;;) {
    auto more = decoder.Next(event);
    if (!more) abort();
    if (!*more) break;
    ++rows;
  }
  if (rows != encoder.rows()) abort();
  return 0;
}
