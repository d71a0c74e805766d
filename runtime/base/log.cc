#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>

namespace carrel {

void InitLog(bool verbose) {
  auto logger =
      std::make_shared<spdlog::logger>("carrel", std::make_shared<spdlog::sinks::stderr_sink_st>());
  logger->set_pattern("carrel: %l: %v");
  logger->set_level(verbose ? spdlog::level::debug : spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace carrel
