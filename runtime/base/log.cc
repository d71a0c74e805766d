#include "base/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <mutex>

#include "base/journal.h"

namespace carrel {
namespace {

// The journal, with a priority, where stderr is one; else a line of text.
class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string text(message.payload.data(), message.payload.size());
    const int priority = message.level >= spdlog::level::err    ? 3
                         : message.level == spdlog::level::warn ? 4
                         : message.level == spdlog::level::info ? 6
                                                                : 7;
    if (SendToJournal(priority, text, {})) return;
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    fwrite(line.data(), 1, line.size(), stderr);
  }
  void flush_() override { fflush(stderr); }
};

}  // namespace

void InitLog(bool verbose) {
  auto logger = std::make_shared<spdlog::logger>("carrel", std::make_shared<StderrSink>());
  logger->set_pattern("carrel: %l: %v");
  logger->set_level(verbose ? spdlog::level::debug : spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
}

void LogError(const std::string& message) { spdlog::error("{}", message); }

}  // namespace carrel
