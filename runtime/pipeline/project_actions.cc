#include "pipeline/project_actions.h"

#include <fcntl.h>

#include "base/fs.h"
#include "pipeline/project.h"

namespace carrel {

std::optional<std::set<std::string>> ActionsOfCheckout(int directory) {
  auto file = OpenBeneath(directory, "project.yaml", O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file) return std::nullopt;
  auto text = ReadFd(file->get(), 1u << 20);
  ProjectFile project;
  if (!text || !ReadProject(*text, project).empty()) return std::nullopt;
  return project.Names();
}

}  // namespace carrel
