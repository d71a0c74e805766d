#include "policy/level_rules.h"

#include "policy/config_decode.h"

namespace carrel {
namespace {

Result<uint32_t> IdOf(std::optional<uint32_t> (*find)(const std::string&), const std::string& name,
                      const std::string& where) {
  auto id = find(name);
  if (id) return *id;
  return BadInput(where, "there is no \"" + name + "\" on this host",
                  "Create it, or name another in /levels of the configuration");
}

Result<void> ApplyMode(const std::string& where, bool said, mode_t most, mode_t& mode) {
  if (!said) mode &= most;
  if ((mode & ~most) == 0) return {};
  return Refused(where,
                 "the configuration's mode " + config_decode::Octal(mode) +
                     " gives more than levels.json's " + config_decode::Octal(most),
                 "Lower it, or have levels.json changed");
}

}  // namespace

Result<void> ApplyLevelRules(const Policy& policy, HostConfig& host) {
  for (auto& [level, ownership] : host.levels) {
    const LevelRule& rule = policy.levels.at(level);
    const std::string where = "/levels/" + LevelName(level);
    auto said = [&own = ownership.said](const char* key) { return own.contains(key); };
    if (!said("owner")) {
      CARREL_ASSIGN(ownership.owner,
                    IdOf(&config_decode::FindUser, rule.owner, rule.entry + "/owner"));
    }
    if (!said("group")) {
      CARREL_ASSIGN(ownership.group,
                    IdOf(&config_decode::FindGroup, rule.group, rule.entry + "/group"));
    }
    CARREL_TRY(ApplyMode(where + "/directory_mode", said("directory_mode"), rule.directory_mode,
                         ownership.directory_mode));
    CARREL_TRY(
        ApplyMode(where + "/file_mode", said("file_mode"), rule.file_mode, ownership.file_mode));
  }
  return {};
}

}  // namespace carrel
