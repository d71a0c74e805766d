#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <memory>

#include "base/clock.h"
#include "base/fs.h"
#include "cli/policy_commands.h"
#include "policy/bundle.h"
#include "policy/names.h"

namespace carrel {
namespace {

struct BundleOptions {
  std::string input;
  std::string output;
  std::string key;
  std::string expires;
  int64_t serial = 0;
};

constexpr size_t kMaxBundleBytes = 64u << 20;

// Whole or not at all; never over a key that exists.
Result<void> WriteNew(const std::string& path, const std::string& text, mode_t mode) {
  CARREL_ASSIGN(UniqueFd fd, OpenPath(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
  return WriteAll(fd.get(), text);
}

Result<void> Replace(const std::string& path, const std::string& text) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  CARREL_ASSIGN(UniqueFd dir, OpenPath(directory, O_RDONLY | O_DIRECTORY));
  return WriteFileAtomic(dir.get(), path.substr(slash + 1), text, 0644);
}

Result<int> Bundle(const BundleOptions& options) {
  BundleContent content;
  content.serial = options.serial;
  content.expires = options.expires;
  auto last_day = ParseDate(options.expires);
  if (last_day && *last_day + kDayNs <= NowNs())
    return BadInput("--expires", "is over: no host would take the bundle", "Give a later day");
  CARREL_ASSIGN(const Policy policy, LoadPolicy(options.input, &content.files));
  content.commit = policy.commit + (policy.commit_changed ? "+changes" : "");
  CARREL_ASSIGN(const std::string text, MakeBundle(content));
  CARREL_TRY(Replace(options.output, text));
  printf("%s: serial %lld, to %s, sha256:%s, not signed\n", options.output.c_str(),
         static_cast<long long>(content.serial), content.expires.c_str(), policy.digest.c_str());
  return 0;
}

Result<int> MakeKey(const BundleOptions& options) {
  CARREL_ASSIGN(const std::string seed, MakeSigningSeed());
  CARREL_ASSIGN(const std::string public_key, PublicKeyOf(seed));
  CARREL_TRY(WriteNew(options.output, seed + "\n", 0600));
  printf("%s\n", public_key.c_str());
  return 0;
}

// A key that others can read is no signature's.
Result<std::string> ReadKey(const std::string& path) {
  CARREL_ASSIGN(const UniqueFd fd, OpenPath(path, O_RDONLY | O_NONBLOCK));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return SysFault(path, "fstat");
  if (S_ISREG(info.st_mode) && (info.st_mode & 077) != 0)
    return BadInput(path, "the key is open to group or others", "chmod 0400 FILE");
  return ReadFd(fd.get(), 4096);
}

Result<int> Sign(const BundleOptions& options) {
  CARREL_ASSIGN(const std::string text, ReadFile(options.input, kMaxBundleBytes));
  CARREL_ASSIGN(std::string seed, ReadKey(options.key));
  while (!seed.empty() && seed.back() == '\n') seed.pop_back();
  CARREL_ASSIGN(const std::string public_key, PublicKeyOf(seed));
  CARREL_ASSIGN(const std::string signed_text, SignBundle(text, seed));
  CARREL_TRY(Replace(options.input, signed_text));
  printf("%s: signed by %s\n", options.input.c_str(), SigningKeyId(public_key).c_str());
  return 0;
}

}  // namespace

void AddBundleCommands(CLI::App& app, std::function<Result<int>()>& chosen) {
  auto options = std::make_shared<BundleOptions>();
  auto* bundle = app.add_subcommand("bundle", "a policy directory as one file, to be signed");
  bundle->add_option("DIR", options->input, "policy directory")->required();
  bundle->add_option("-o,--output", options->output, "the bundle")->required();
  bundle->add_option("--serial", options->serial, "larger than any before")->required();
  bundle->add_option("--expires", options->expires, "the last day, such as 2027-01-31")->required();
  bundle->callback([options, &chosen] { chosen = [options] { return Bundle(*options); }; });
  auto* key = app.add_subcommand("key", "make a signing key; prints its public key");
  key->add_option("FILE", options->output, "new file for the private key")->required();
  key->callback([options, &chosen] { chosen = [options] { return MakeKey(*options); }; });
  auto* sign = app.add_subcommand("sign", "add a signature to a bundle");
  sign->add_option("BUNDLE", options->input, "the bundle")->required();
  sign->add_option("--key", options->key, "file of the private key")->required();
  sign->callback([options, &chosen] { chosen = [options] { return Sign(*options); }; });
}

Result<Policy> PolicyOfBundle(const std::string& file) {
  CARREL_ASSIGN(const std::string text, ReadFile(file, kMaxBundleBytes));
  auto bundle = ReadBundle(text, {});
  if (!bundle) {
    bundle.error().where = file + ": " + bundle.error().where;
    return std::move(bundle).error();
  }
  CARREL_ASSIGN(Policy policy, DecodePolicy(bundle->files));
  policy.commit = bundle->commit;
  policy.bundle_serial = bundle->serial;
  return policy;
}

}  // namespace carrel
