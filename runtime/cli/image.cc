// `carrel image ...`: the image store from the command line. Images are public data: everything
// that is printed of them may be hostile, and is escaped.
#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "base/digest.h"
#include "cli/command.h"
#include "cli/host_options.h"
#include "cli/image_build.h"
#include "image/image_store.h"
#include "image/names.h"
#include "image/record.h"

namespace carrel {
namespace {

/// What every subcommand takes.
struct Common {
  std::string config;
  std::string state;
  bool json = false;
};

void AddCommon(CLI::App& app, Common& common, bool json) {
  AddHostOptions(app, common.config, common.state);
  if (json) app.add_flag("--json", common.json, "print JSON");
}

constexpr size_t kShortDigest = 12;  // hexadecimal digits of it, in a list

std::string Megabytes(uint64_t bytes) {
  char text[32];
  snprintf(text, sizeof text, "%.1f", static_cast<double>(bytes) / 1e6);
  return text;
}

OrderedJson ToJson(const Image& image) {
  OrderedJson json = {{"names", image.names}, {"rootfs", image.rootfs}};
  json.update(ImageMembers(image));
  return json;
}

// JSON text without a byte that a terminal or a line reader could mistake.
void PrintPretty(const OrderedJson& value) { printf("%s\n", value.dump(2, ' ', true).c_str()); }

std::string Words(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + PrintableName(word);
  return text;
}

// "label    text", cut into lines of 80 columns: a digest fits on one.
void PrintField(const char* label, const std::string& text) {
  constexpr size_t kWidth = 80 - 9;
  for (size_t start = 0; start < text.size(); start += kWidth)
    printf("%-8s %s\n", start == 0 ? label : "", text.substr(start, kWidth).c_str());
}

void PrintImage(const Image& image) {
  for (const std::string& name : image.names) PrintField("name", name);
  PrintField("digest", image.digest);
  PrintField("image id", image.config_digest);
  PrintField("tree", image.tree_digest);
  PrintField("rootfs", PrintableName(image.rootfs));
  PrintField("size", Megabytes(image.bytes) + " MB, " + std::to_string(image.entries) +
                         " paths, from " + std::to_string(image.layers) +
                         (image.layers == 1 ? " layer" : " layers"));
  PrintField("created", PrintableName(image.config.created));
  PrintField("imported", image.imported);
  PrintField("entry", Words(image.config.entrypoint));
  PrintField("command", Words(image.config.cmd));
  for (const auto& [name, value] : image.config.env)
    PrintField("env", PrintableName(name + "=" + value));
  for (const auto& [name, value] : image.config.labels)
    PrintField("label", PrintableName(name + "=" + value));
  for (const std::string& path : image.weakened.stripped_setuid)
    PrintField("stripped", "setuid: " + path);
  for (const std::string& path : image.weakened.dropped_nodes)
    PrintField("left out", "device node: " + path);
}

// The whole digest, of the beginning of one as `image list` prints it. Else what was given.
std::string Expanded(const ImageStore& store, const std::string& reference) {
  if (reference.size() < kShortDigest || !IsLowerHex(reference, reference.size())) return reference;
  std::vector<std::string> found;
  for (const Image& image : store.List().value_or(std::vector<Image>{}))
    if (std::string_view(image.digest).substr(7).starts_with(reference))
      found.push_back(image.digest);
  return found.size() == 1 ? found[0] : reference;
}

// The digest that a name means before it is given to another image; "" when none.
std::string DigestBefore(const ImageStore& store, const std::string& name) {
  auto image = name.empty() ? Result<Image>(Error{}) : store.Resolve(name);
  return image ? image->digest : "";
}

// A name that moves is what an operator must notice.
void TellMoved(const std::string& name, const std::string& before, const std::string& now) {
  if (!before.empty() && before != now)
    fprintf(stderr, "carrel: %s was %s until now\n", name.c_str(), before.c_str());
}

int ImportImageCommand(int argc, char** argv) {
  CLI::App app("import an OCI layout (directory or tar) or a docker-archive",
               "carrel image import");
  Common common;
  ImportOptions options;
  std::string path;
  AddCommon(app, common, true);
  app.add_option("PATH", path, "what to import")->required();
  app.add_option("--name", options.name, "NAME:TAG, instead of the names in it");
  app.add_option("--ref", options.ref, "which image, when there are several in it");
  app.add_flag("--strip-setuid", options.strip_setuid,
               "take setuid, setgid and file capabilities off its programs");
  app.add_flag("--drop-device-nodes", options.drop_device_nodes,
               "leave out its device nodes and FIFOs");
  app.add_option("--max-bytes", options.max_bytes, "refuse what unpacks to more")
      ->capture_default_str();
  app.add_option("--max-entries", options.max_entries, "refuse what has more files")
      ->capture_default_str();
  int status = 0;
  if (!ParseWithState(app, argc, argv, common.config, common.state, &status)) return status;
  auto store = ImageStore::Open(common.state);
  if (!store) return PrintError(store.error());
  auto image = store->Import(path, options);
  if (!image) return PrintError(image.error());
  for (const GivenName& given : image->given)
    TellMoved(given.name, given.digest_before, image->digest);
  if (common.json) {
    PrintPretty(ToJson(*image));
    return 0;
  }
  for (const GivenName& given : image->given) printf("imported %s\n", given.name.c_str());
  PrintImage(*image);
  return 0;
}

int ListCommand(int argc, char** argv) {
  CLI::App app("list the images", "carrel image list");
  Common common;
  AddCommon(app, common, true);
  int status = 0;
  if (!ParseWithState(app, argc, argv, common.config, common.state, &status)) return status;
  auto store = ImageStore::OpenExisting(common.state);
  if (!store) return PrintError(store.error());
  auto images = store->List();
  if (!images) return PrintError(images.error());
  if (common.json) {
    OrderedJson list = OrderedJson::array();
    for (const Image& image : *images) list.push_back(ToJson(image));
    PrintPretty(list);
    return 0;
  }
  // A name is never cut: it is what the other commands are given.
  size_t longest = 30;
  for (const Image& image : *images)
    for (const std::string& name : image.names) longest = std::max(longest, name.size());
  const int width = static_cast<int>(longest);
  printf("%-*s %-12s %6s %10s %s\n", width, "NAME", "DIGEST", "LAYERS", "MB", "IMPORTED");
  for (const Image& image : *images) {
    std::vector<std::string> names = image.names;
    if (names.empty()) names.push_back("-");
    for (const std::string& name : names)
      printf("%-*s %-12s %6zu %10s %.10s\n", width, name.c_str(),
             image.digest.substr(7, kShortDigest).c_str(), image.layers,
             Megabytes(image.bytes).c_str(), image.imported.c_str());
  }
  return 0;
}

int InspectCommand(int argc, char** argv) {
  CLI::App app("show one image", "carrel image inspect");
  Common common;
  std::string reference;
  AddCommon(app, common, true);
  app.add_option("IMAGE", reference, "NAME[:TAG], or a digest: sha256:..., or as listed")
      ->required();
  int status = 0;
  if (!ParseWithState(app, argc, argv, common.config, common.state, &status)) return status;
  auto store = ImageStore::OpenExisting(common.state);
  if (!store) return PrintError(store.error());
  auto image = store->Resolve(Expanded(*store, reference));
  if (!image) return PrintError(image.error());
  if (common.json)
    PrintPretty(ToJson(*image));
  else
    PrintImage(*image);
  return 0;
}

// One image's findings; the number of them, or an error.
Result<size_t> VerifyOne(const ImageStore& store, const std::string& reference, bool json,
                         OrderedJson& report) {
  CARREL_ASSIGN(auto findings, store.Verify(reference));
  report.push_back({{"image", reference}, {"findings", findings}});
  if (json) return findings.size();
  auto image = store.Resolve(reference);  // of a damaged one the names may not be known
  const std::string names = image ? Words(image->names) : "";
  printf("%s: %s%s\n", reference.c_str(), findings.empty() ? "whole" : "DAMAGED",
         names.empty() || names == reference ? "" : ("  " + names).c_str());
  for (const std::string& finding : findings) printf("  %s\n", finding.c_str());
  return findings.size();
}

int VerifyCommand(int argc, char** argv) {
  CLI::App app("recompute every digest; exit status 1 when something differs",
               "carrel image verify");
  Common common;
  std::string reference;
  bool all = false;
  AddCommon(app, common, true);
  auto* one =
      app.add_option("IMAGE", reference, "NAME[:TAG], or a digest: sha256:..., or as listed");
  app.add_flag("--all", all, "every image of the store")->excludes(one);
  int status = 0;
  if (!ParseWithState(app, argc, argv, common.config, common.state, &status)) return status;
  if (!all && reference.empty())
    return PrintError(BadInput("IMAGE", "say which image", "Name one, or --all"),
                      "carrel image verify");
  auto store = ImageStore::OpenExisting(common.state);
  if (!store) return PrintError(store.error());
  std::vector<std::string> references = {Expanded(*store, reference)};
  if (all) {
    auto images = store->List();
    if (!images) return PrintError(images.error());
    references.clear();
    for (const Image& image : *images) references.push_back(image.digest);
  }
  size_t count = 0;
  OrderedJson report = OrderedJson::array();
  for (const std::string& each : references) {
    auto findings = VerifyOne(*store, each, common.json, report);
    if (!findings) return PrintError(findings.error());
    count += *findings;
  }
  if (common.json) PrintPretty(report);
  return count == 0 ? 0 : 1;
}

int RemoveCommand(int argc, char** argv) {
  CLI::App app("remove a name; with the last one, or a digest, the image", "carrel image remove");
  Common common;
  std::string reference;
  AddCommon(app, common, false);
  app.add_option("IMAGE", reference, "NAME[:TAG], or a digest: sha256:..., or as listed")
      ->required();
  int status = 0;
  if (!ParseWithState(app, argc, argv, common.config, common.state, &status)) return status;
  auto store = ImageStore::OpenExisting(common.state);
  if (!store) return PrintError(store.error());
  auto removed = store->Remove(Expanded(*store, reference));
  return removed ? 0 : PrintError(removed.error());
}

int TagCommand(int argc, char** argv) {
  CLI::App app("give an image another name", "carrel image tag");
  Common common;
  std::string reference, name;
  AddCommon(app, common, false);
  app.add_option("IMAGE", reference, "NAME[:TAG], or a digest: sha256:..., or as listed")
      ->required();
  app.add_option("NAME", name, "NAME:TAG")->required();
  int status = 0;
  if (!ParseWithState(app, argc, argv, common.config, common.state, &status)) return status;
  auto store = ImageStore::OpenExisting(common.state);
  if (!store) return PrintError(store.error());
  const std::string before = DigestBefore(*store, name);
  auto tagged = store->Tag(Expanded(*store, reference), name);
  if (!tagged) return PrintError(tagged.error());
  TellMoved(name, before, DigestBefore(*store, name));
  return 0;
}

constexpr Command kSubcommands[] = {
    {"build", "build an image from Debian packages", &ImageBuildCommand},
    {"import", "import an OCI layout or a docker-archive", &ImportImageCommand},
    {"list", "list the images", &ListCommand},
    {"inspect", "show one image", &InspectCommand},
    {"verify", "recompute every digest of an image", &VerifyCommand},
    {"remove", "remove a name, or an image", &RemoveCommand},
    {"tag", "give an image another name", &TagCommand},
};

void PrintImageUsage(FILE* out) {
  fprintf(out, "usage: carrel image SUBCOMMAND ...\n\n");
  for (const Command& command : kSubcommands)
    fprintf(out, "  %-8s %s\n", command.name, command.summary);
  fprintf(out, "\n`carrel image SUBCOMMAND --help` lists its options.\n");
}

}  // namespace

int ImageCommand(int argc, char** argv) {
  const std::string name = argc >= 2 ? argv[1] : "";
  for (const Command& command : kSubcommands)
    if (name == command.name) return command.run(argc - 1, argv + 1);
  const bool help = name == "--help" || name == "-h";
  if (!help && !name.empty())
    fprintf(stderr, "carrel: unknown subcommand image %s\n", PrintableName(name).c_str());
  PrintImageUsage(help ? stdout : stderr);
  return help ? 0 : static_cast<int>(ErrorKind::kBadInput);
}

}  // namespace carrel
