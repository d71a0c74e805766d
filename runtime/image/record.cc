#include "image/record.h"

#include "base/digest.h"
#include "base/json.h"

namespace carrel {
namespace {

// Values may hold any text but NUL; JsonObject::Strings would refuse line ends.
std::vector<std::string> TakeTexts(JsonObject& in, const std::string& key) {
  std::vector<std::string> texts;
  const Json* list = in.Any(key);
  if (list == nullptr || !list->is_array()) {
    in.Problem(key, "must be a list");
    return texts;
  }
  for (const Json& item : *list) {
    if (item.is_string())
      texts.push_back(item.get<std::string>());
    else
      in.Problem(key, "must hold strings");
  }
  return texts;
}

std::map<std::string, std::string> TakeMap(JsonObject& in, const std::string& key) {
  std::map<std::string, std::string> map;
  const Json* object = in.Any(key);
  if (object == nullptr || !object->is_object()) {
    in.Problem(key, "must be an object");
    return map;
  }
  for (const auto& [name, value] : object->items()) {
    if (value.is_string())
      map[name] = value.get<std::string>();
    else
      in.Problem(key, "must hold strings");
  }
  return map;
}

}  // namespace

OrderedJson ImageMembers(const Image& image) {
  return {{"digest", image.digest},
          {"config_digest", image.config_digest},
          {"tree_digest", image.tree_digest},
          {"bytes", image.bytes},
          {"entries", image.entries},
          {"layers", image.layers},
          {"imported", image.imported},
          {"created", image.config.created},
          {"entrypoint", image.config.entrypoint},
          {"cmd", image.config.cmd},
          {"env", image.config.env},
          {"working_dir", image.config.working_dir},
          {"labels", image.config.labels},
          {"stripped_setuid", image.weakened.stripped_setuid},
          {"dropped_nodes", image.weakened.dropped_nodes}};
}

std::string EncodeRecord(const Image& image) {
  OrderedJson record = {{"version", 1}};
  record.update(ImageMembers(image));
  return record.dump() + "\n";
}

Result<Image> DecodeRecord(const std::string& text, const std::string& where) {
  auto parsed = ParseJson(text, where);
  if (!parsed) return Fault(where, "a damaged record: " + parsed.error().what);
  JsonObject in(*parsed, "");
  Image image;
  (void)in.RequiredInt("version", 1, 1);
  image.digest = in.RequiredString("digest");
  image.config_digest = in.RequiredString("config_digest");
  image.tree_digest = in.RequiredString("tree_digest");
  for (const std::string* digest : {&image.digest, &image.config_digest, &image.tree_digest})
    if (!IsSha256Digest(*digest)) in.Problem("digest", "holds a digest that is none");
  image.bytes = static_cast<uint64_t>(in.RequiredInt("bytes", 0, INT64_MAX));
  image.entries = static_cast<uint64_t>(in.RequiredInt("entries", 0, INT64_MAX));
  image.layers = static_cast<size_t>(in.RequiredInt("layers", 0, INT32_MAX));
  image.imported = in.RequiredString("imported");
  image.config.created = in.RequiredString("created");
  image.config.entrypoint = TakeTexts(in, "entrypoint");
  image.config.cmd = TakeTexts(in, "cmd");
  image.config.env = TakeMap(in, "env");
  const Json* directory = in.Any("working_dir");
  if (directory != nullptr && directory->is_string())
    image.config.working_dir = directory->get<std::string>();
  image.config.labels = TakeMap(in, "labels");
  image.weakened.stripped_setuid = TakeTexts(in, "stripped_setuid");
  image.weakened.dropped_nodes = TakeTexts(in, "dropped_nodes");
  auto finished = in.Finish();
  if (!finished) return Fault(where, "a damaged record: " + finished.error().ToString());
  return image;
}

}  // namespace carrel
