// tools.json, and what the other decoders share.
#include <algorithm>

#include "base/digest.h"
#include "policy/names.h"
#include "policy/policy_decode.h"
#include "policy/variables.h"

namespace carrel::policy_decode {

std::set<Level> DecodeLevelSet(JsonObject& in, const std::string& key) {
  std::set<Level> levels;
  auto names = in.Strings(key, 64);
  if (!names && !in.Has(key)) in.Problem(key, "is required");
  for (const std::string& name : names.value_or(std::vector<std::string>{})) {
    if (auto level = ParseLevel(name))
      levels.insert(*level);
    else
      in.Problem(key, "unknown level \"" + name + "\"");
  }
  return levels;
}

std::set<std::string> DecodeNames(JsonObject& in, const std::string& key) {
  std::set<std::string> names;
  for (const std::string& name : in.Strings(key, 128).value_or(std::vector<std::string>{})) {
    if (!IsName(name)) in.Problem(key, "\"" + name + "\" is not a name");
    if (!names.insert(name).second) in.Problem(key, "\"" + name + "\" is there twice");
  }
  return names;
}

namespace {

// Characters that nobody sees, and those that turn the text around them: a reviewer would read
// another sentence than the one that is there. UTF-8 of C1 controls, U+00AD, U+061C, U+200B to
// U+200F, U+2028 to U+202E, U+2060 to U+206F, U+FEFF, U+E0000 to U+E0FFF (tags).
bool HasHidden(std::string_view text) {
  auto at = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  for (size_t i = 0; i < text.size(); ++i) {
    const uint8_t second = at(i + 1), third = at(i + 2);
    const bool hidden =
        (at(i) == 0xc2 && (second < 0xa0 || second == 0xad)) || (at(i) == 0xd8 && second == 0x9c) ||
        (at(i) == 0xe2 && second == 0x80 &&
         ((third >= 0x8b && third <= 0x8f) || (third >= 0xa8 && third <= 0xae))) ||
        (at(i) == 0xe2 && second == 0x81 && third >= 0xa0 && third <= 0xaf) ||
        (at(i) == 0xef && second == 0xbb && third == 0xbf) || (at(i) == 0xf3 && second == 0xa0);
    if (hidden) return true;
  }
  return false;
}

}  // namespace

std::string Reason(JsonObject& in, const std::string& key) {
  std::string text = in.RequiredString(key, 4096);
  if (HasHidden(text)) in.Problem(key, "has characters that nobody sees. Remove them");
  if (in.Has(key) && text.size() < 3) in.Problem(key, "must say something");
  return text;
}

std::string LooksLike(const std::string& other) {
  return " looks like \"" + other +
         "\" (in all but case, 0 and O, 1, I and l, or \"-\", \"_\" and \".\"): whoever " +
         "reviews a list takes one for the other. Change one of the two";
}

bool DecodeWeakening(JsonObject& in, const std::string& key, const std::string& reason_key) {
  const bool set = in.Bool(key).value_or(false);
  if (set || in.Has(reason_key)) (void)Reason(in, reason_key);
  return set;
}

namespace {

CommandRule DecodeCommand(const Json& value, const std::string& pointer, JsonObject& parent) {
  JsonObject in(value, pointer);
  CommandRule rule;
  rule.entry = "tools.json#" + pointer;
  rule.database = in.Bool("database").value_or(false);
  rule.levels = DecodeLevelSet(in, "levels");
  parent.Merge(in.Finish());
  return rule;
}

void DecodeCommands(JsonObject& in, Tool& tool) {
  if (const Json* value = in.Any("commands")) {
    JsonObject commands(*value, in.PointerTo("commands"));
    if (value->is_object()) {
      for (const auto& [name, member] : value->items()) {
        (void)commands.Any(name);
        if (!IsName(name)) commands.Problem(name, "is not a name of a command");
        tool.commands[name] = DecodeCommand(member, commands.PointerTo(name), commands);
      }
    }
    in.Merge(commands.Finish());
  }
  if (const Json* value = in.Any("any_command"))
    tool.any_command = DecodeCommand(*value, in.PointerTo("any_command"), in);
  if (tool.commands.empty() && !tool.any_command)
    in.Problem("commands", "is required, or any_command");
}

void DecodeImages(JsonObject& in, Tool& tool) {
  tool.images = in.Strings("images", 512).value_or(tool.images);
  if (tool.images.empty()) in.Problem("images", "must name at least one image");
  for (const std::string& image : tool.images)
    if (!ParseImageReference(image + ":v1"))
      in.Problem("images", "\"" + image + "\" is not the name of an image (without tag)");
  for (const std::string& tag : in.Strings("versions", 128).value_or(std::vector<std::string>{})) {
    if (!ParseImageReference("x:" + tag)) in.Problem("versions", "\"" + tag + "\" is not a tag");
    tool.versions.insert(tag);
  }
  if (tool.versions.empty()) in.Problem("versions", "must list at least one tag");
  tool.digests = in.StringMap("digests").value_or(tool.digests);
  for (const auto& [tag, digest] : tool.digests)
    if (!tool.versions.contains(tag) || !IsSha256Digest(digest))
      in.Problem("digests", "\"" + tag + "\" must be one of versions, with \"sha256:...\"");
}

void DecodePreflight(JsonObject& in, Tool& tool) {
  const Json* list = in.Any("preflight");
  if (list == nullptr) return;
  if (!list->is_array()) return in.Problem("preflight", "must be a list");
  for (size_t i = 0; i < list->size(); ++i) {
    JsonObject entry((*list)[i], in.PointerTo("preflight") + "/" + std::to_string(i));
    PreflightRule rule;
    rule.check = entry.RequiredString("check", 64);
    if (entry.Has("check") && rule.check != "sql-declaration")
      entry.Problem("check", "unknown check; there is \"sql-declaration\"");
    rule.options_with_value =
        entry.Strings("options_with_value", 128).value_or(std::vector<std::string>{});
    // Two would each have options of their own: which of them a job may give is hard to see.
    for (const PreflightRule& other : tool.preflight)
      if (other.check == rule.check) entry.Problem("check", "is there twice");
    in.Merge(entry.Finish());
    tool.preflight.push_back(std::move(rule));
  }
}

Tool DecodeTool(const std::string& name, const Json& value, const std::string& pointer,
                JsonObject& parent) {
  JsonObject in(value, pointer);
  Tool tool;
  tool.name = name;
  tool.entry = "tools.json#" + pointer;
  (void)Reason(in, "description");
  DecodeImages(in, tool);
  DecodeCommands(in, tool);
  tool.requires_listing = in.String("requires_listing", 64).value_or("");
  if (in.Has("requires_listing") && tool.requires_listing != "sql-runner" &&
      tool.requires_listing != "cohort-extractor")
    in.Problem("requires_listing", "must be \"sql-runner\" or \"cohort-extractor\"");
  const std::string opt_outs = in.String("opt_outs", 16).value_or("");
  if (in.Has("opt_outs") && opt_outs != "told" && opt_outs != "declared")
    in.Problem("opt_outs",
               "must be \"told\" (by EHRQL_PERMISSIONS) or \"declared\" (by the query)");
  tool.told_permissions = opt_outs == "told";
  tool.declares_opt_outs = opt_outs == "declared";
  tool.refused_arguments = in.Strings("refused_arguments", 128).value_or(tool.refused_arguments);
  tool.environment = in.StringMap("environment").value_or(tool.environment);
  for (const auto& [variable, text] : tool.environment) {
    if (!IsEnvironmentName(variable)) in.Problem("environment", "bad name \"" + variable + "\"");
    if (IsReservedForTools(variable, text))
      in.Problem("environment", "\"" + variable + "\" is carrel's own to set. Remove it");
  }
  DecodePreflight(in, tool);
  if (const Json* limits = in.Any("limits")) {
    auto decoded = DecodeLimits(*limits, in.PointerTo("limits"));
    if (decoded)
      tool.limits = *decoded;
    else
      in.Merge(decoded.error());
  }
  tool.allow_loopback_sockets = DecodeWeakening(in, "allow_loopback_sockets", "loopback_reason");
  tool.copy_up_always = DecodeWeakening(in, "copy_up_always", "copy_up_reason");
  auto reaches = [](const auto& rule) { return rule.second.database; };
  const bool database = std::any_of(tool.commands.begin(), tool.commands.end(), reaches) ||
                        (tool.any_command && tool.any_command->database);
  // Without a rule for opted-out patients nothing would exclude them.
  if (database && opt_outs.empty())
    in.Problem("opt_outs", "is required for a tool that reaches a database");
  if (tool.declares_opt_outs && tool.preflight.empty())
    in.Problem("preflight", "is required where opt_outs is \"declared\"");
  parent.Merge(in.Finish());
  return tool;
}

}  // namespace

void DecodeTools(const Json& document, Policy& policy, Problems& problems) {
  JsonObject in(document, "");
  std::map<std::string, std::string> images;
  std::map<std::string, std::string> names;
  if (const Json* value = in.Any("tools"); value != nullptr && value->is_object()) {
    for (const auto& [name, member] : value->items()) {
      const std::string pointer = in.PointerTo("tools") + "/" + name;
      if (!IsName(name)) in.Problem("tools", "\"" + name + "\" is not a name");
      if (auto [found, fresh] = names.emplace(LookAlike(name), name); !fresh)
        in.Problem("tools", "\"" + name + "\"" + LooksLike(found->second));
      policy.tools[name] = DecodeTool(name, member, pointer, in);
      for (const std::string& image : policy.tools[name].images)
        if (!images.emplace(Lower(image), name).second)
          in.Problem("tools", "the image \"" + image + "\" belongs to two tools");
    }
  } else {
    in.Problem("tools", "must be an object of tools");
  }
  problems.Take("tools.json", in.Finish());
}

}  // namespace carrel::policy_decode
