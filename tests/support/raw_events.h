// Raw records as the BPF programs write them, for tests of everything behind the ring.
#pragma once

#include <cstring>
#include <string>

#include "audit/raw_event.h"

namespace carrel::testing_support {

inline RawHead Head(RawType type, uint8_t flags, uint32_t tid, uint32_t value, size_t size) {
  return {static_cast<__u16>(size), static_cast<__u8>(type), flags, 1, tid, value};
}

template <typename Record>
std::string Bytes(const Record& record) {
  return {reinterpret_cast<const char*>(&record), sizeof record};
}

inline std::string RawCallOf(uint32_t tid, uint32_t nr, uint64_t enter, int64_t result,
                             std::initializer_list<uint64_t> args = {}, uint8_t flags = 0) {
  RawCall call{};
  call.head = Head(kRawCall, flags, tid, nr, sizeof call);
  call.enter_ns = enter;
  call.exit_ns = enter + 768;
  call.result = result;
  size_t i = 0;
  for (uint64_t arg : args) call.args[i++] = arg;
  return Bytes(call);
}

inline std::string RawTaskOf(uint32_t tid, uint32_t tgid, uint32_t inner, const char* comm,
                             uint8_t flags = 0) {
  RawTask task{};
  task.head = Head(kRawTask, flags, tid, 0, sizeof task);
  task.time_ns = 6400;
  task.tgid = tgid;
  task.inner_tid = task.inner_tgid = inner;
  std::strncpy(task.comm, comm, sizeof task.comm);
  return Bytes(task);
}

inline std::string RawExitOf(uint32_t tid, uint32_t code) {
  RawExit exit{};
  exit.head = Head(kRawExit, 0, tid, code, sizeof exit);
  exit.time_ns = 640000;
  exit.group_code = code;
  exit.last = 1;
  return Bytes(exit);
}

inline std::string RawExecOf(uint32_t tid, uint32_t old_tid, uint32_t inner, const char* comm) {
  RawExec exec{};
  exec.head = Head(kRawExec, 0, tid, old_tid, sizeof exec);
  exec.time_ns = 64000;
  exec.argc = 1;
  exec.tgid = tid;
  exec.inner_tid = inner;
  std::strncpy(exec.comm, comm, sizeof exec.comm);
  return Bytes(exec);
}

inline std::string RawDataOf(uint32_t tid, uint8_t arg, RawDataKind kind, std::string_view bytes,
                             uint8_t flags = 0) {
  RawData data{};
  data.head = Head(kRawData, flags, tid, static_cast<uint32_t>(bytes.size()),
                   offsetof(RawData, bytes) + bytes.size());
  data.arg = arg;
  data.kind = kind;
  std::memcpy(data.bytes, bytes.data(), bytes.size());
  return Bytes(data).substr(0, offsetof(RawData, bytes) + bytes.size());
}

/// `parts` from the file upwards, each with its NUL.
inline std::string RawFileOf(uint32_t tid, std::string_view parts, uint64_t inode,
                             uint8_t flags = 0) {
  RawFile file{};
  file.head = Head(kRawFile, flags, tid, static_cast<uint32_t>(parts.size()),
                   offsetof(RawFile, parts) + parts.size());
  file.inode = inode;
  file.device = 8u << 20 | 1;
  file.mode = 0100644;
  std::memcpy(file.parts, parts.data(), parts.size());
  return Bytes(file).substr(0, offsetof(RawFile, parts) + parts.size());
}

}  // namespace carrel::testing_support
