#include "launch/seccomp.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>

#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"
#include "embedded_profiles.h"

namespace carrel {
namespace {

using Context = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

Result<uint32_t> ParseAction(JsonObject& in, const std::string& action_key,
                             const std::string& errno_key) {
  const std::string action = in.RequiredString(action_key);
  const auto number = in.Int(errno_key, 1, 4095);
  if (action == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (action == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(number.value_or(1));
  if (action == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  return BadInput(in.PointerTo(action_key), "unknown action " + action);
}

Result<scmp_compare> ParseOperator(const std::string& name, const std::string& pointer) {
  static const std::map<std::string, scmp_compare> kOperators = {
      {"SCMP_CMP_NE", SCMP_CMP_NE},
      {"SCMP_CMP_LT", SCMP_CMP_LT},
      {"SCMP_CMP_LE", SCMP_CMP_LE},
      {"SCMP_CMP_EQ", SCMP_CMP_EQ},
      {"SCMP_CMP_GE", SCMP_CMP_GE},
      {"SCMP_CMP_GT", SCMP_CMP_GT},
      {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
  auto found = kOperators.find(name);
  if (found == kOperators.end()) return BadInput(pointer, "unknown operator " + name);
  return found->second;
}

Result<std::vector<scmp_arg_cmp>> ParseArgs(const Json* args, const std::string& pointer) {
  std::vector<scmp_arg_cmp> compares;
  if (args == nullptr) return compares;
  for (size_t i = 0; i < args->size(); ++i) {
    JsonObject in((*args)[i], pointer + "/" + std::to_string(i));
    const auto index = static_cast<unsigned>(in.RequiredInt("index", 0, 5));
    const auto value = static_cast<uint64_t>(in.RequiredInt("value", 0, INT64_MAX));
    const auto second = static_cast<uint64_t>(in.Int("valueTwo", 0, INT64_MAX).value_or(0));
    const std::string op = in.RequiredString("op");
    CARREL_TRY(in.Finish());
    CARREL_ASSIGN(scmp_compare compare, ParseOperator(op, in.PointerTo("op")));
    compares.push_back({index, compare, value, second});
  }
  return compares;
}

Result<void> AddRule(scmp_filter_ctx context, const Json& rule, const std::string& pointer,
                     uint32_t default_action) {
  JsonObject in(rule, pointer);
  const auto names = in.Strings("names").value_or(std::vector<std::string>());
  CARREL_ASSIGN(const uint32_t action, ParseAction(in, "action", "errnoRet"));
  CARREL_ASSIGN(const auto args, ParseArgs(in.Any("args"), in.PointerTo("args")));
  (void)in.String("comment");
  CARREL_TRY(in.Finish());
  if (action == default_action) return {};
  for (const std::string& name : names) {
    const int number = seccomp_syscall_resolve_name(name.c_str());
    if (number == __NR_SCMP_ERROR)
      return BadInput(pointer + "/names", "libseccomp does not know the system call " + name);
    if (number < 0)
      continue;  // of another architecture (a pseudo number): it cannot be called here
    const int error = seccomp_rule_add_array(context, action, number,
                                             static_cast<unsigned>(args.size()), args.data());
    if (error != 0) return SysFault(pointer, "seccomp rule for " + name, -error);
  }
  return {};
}

Result<std::vector<sock_filter>> ExportFilter(scmp_filter_ctx context) {
  UniqueFd memory(::memfd_create("carrel-seccomp", MFD_CLOEXEC));
  if (!memory) return SysFault("seccomp", "memfd_create");
  if (int error = seccomp_export_bpf(context, memory.get()); error != 0)
    return SysFault("seccomp", "export of the filter", -error);
  if (::lseek(memory.get(), 0, SEEK_SET) != 0) return SysFault("seccomp", "lseek");
  CARREL_ASSIGN(const std::string bytes, ReadFd(memory.get(), 1u << 20));
  std::vector<sock_filter> instructions(bytes.size() / sizeof(sock_filter));
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(instructions.data()));
  return instructions;
}

std::string DigestOf(const std::vector<std::string>& documents) {
  Sha256 hash;
  for (const std::string& document : documents) hash.Update(document);
  return hash.HexFinal();
}

// The cache's file name says all that the filter depends on.
std::string CacheName(const std::string& profile_digest) {
  const scmp_version* version = seccomp_version();
  return profile_digest + "-" + std::to_string(version->major) + "." +
         std::to_string(version->minor) + "." + std::to_string(version->micro) + "-x86_64.bpf";
}

// "carrel-seccomp 1 <sha256 of the instructions>\n" and the instructions.
constexpr std::string_view kMagic = "carrel-seccomp 1 ";

std::optional<std::vector<sock_filter>> ReadCache(int directory, const std::string& name) {
  auto file = OpenBeneath(directory, name, O_RDONLY);
  if (!file) return std::nullopt;
  struct stat info {};
  if (::fstat(file->get(), &info) != 0 || info.st_uid != 0 || (info.st_mode & 0022) != 0)
    return std::nullopt;
  auto bytes = ReadFd(file->get(), 1u << 20);
  const size_t header = kMagic.size() + 65;
  if (!bytes || bytes->size() <= header || !bytes->starts_with(kMagic)) return std::nullopt;
  const std::string_view body = std::string_view(*bytes).substr(header);
  if (body.size() % sizeof(sock_filter) != 0 ||
      std::string_view(*bytes).substr(kMagic.size(), 64) != Sha256Hex(body))
    return std::nullopt;
  std::vector<sock_filter> instructions(body.size() / sizeof(sock_filter));
  std::copy(body.begin(), body.end(), reinterpret_cast<char*>(instructions.data()));
  return instructions;
}

}  // namespace

Result<SeccompFilter> CompileSeccomp(const std::vector<std::string>& documents) {
  Context context(nullptr, &seccomp_release);
  uint32_t default_action = 0;
  for (const std::string& document : documents) {
    CARREL_ASSIGN(const Json profile, ParseJson(document, "seccomp profile"));
    JsonObject in(profile, "");
    CARREL_ASSIGN(const uint32_t action, ParseAction(in, "defaultAction", "defaultErrnoRet"));
    const auto architectures = in.Strings("architectures").value_or(std::vector<std::string>());
    const Json* rules = in.Any("syscalls");
    CARREL_TRY(in.Finish());
    if (architectures != std::vector<std::string>{"SCMP_ARCH_X86_64"})
      return BadInput("/architectures", "must be [\"SCMP_ARCH_X86_64\"]: no foreign ABI runs here");
    if (!context) {
      default_action = action;
      context.reset(seccomp_init(action));
      if (!context) return Fault("seccomp", "libseccomp could not start a filter");
      // A binary tree over the numbers; a foreign ABI (i386, and x32 by its number) gets ENOSYS.
      if (seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2) != 0 ||
          seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS)) != 0)
        return Fault("seccomp", "libseccomp refused a filter attribute");
    }
    if (rules == nullptr || !rules->is_array())
      return BadInput("/syscalls", "must be a list of rules");
    for (size_t i = 0; i < rules->size(); ++i)
      CARREL_TRY(
          AddRule(context.get(), (*rules)[i], "/syscalls/" + std::to_string(i), default_action));
  }
  CARREL_ASSIGN(auto instructions, ExportFilter(context.get()));
  return SeccompFilter{std::move(instructions), DigestOf(documents)};
}

Result<std::vector<std::string>> BuiltinProfile(const std::string& name) {
  if (name == "base") return std::vector<std::string>{kSeccompBase, kSeccompIsolated};
  if (name == "loopback") return std::vector<std::string>{kSeccompBase, kSeccompLoopback};
  if (name == "gateway") return std::vector<std::string>{kSeccompBase, kSeccompGateway};
  return BadInput("/seccomp_profile", "unknown profile " + name, "Known: base, gateway, loopback");
}

Result<SeccompFilter> LoadSeccomp(const std::string& state_dir, const std::string& name) {
  CARREL_ASSIGN(const auto documents, BuiltinProfile(name));
  const std::string digest = DigestOf(documents);
  CARREL_ASSIGN(UniqueFd directory, MakeDirs(state_dir + "/seccomp", 0700));
  const std::string file = CacheName(digest);
  if (auto cached = ReadCache(directory.get(), file))
    return SeccompFilter{std::move(*cached), digest};
  CARREL_ASSIGN(SeccompFilter filter, CompileSeccomp(documents));
  const std::string_view body(reinterpret_cast<const char*>(filter.instructions.data()),
                              filter.instructions.size() * sizeof(sock_filter));
  CARREL_TRY(WriteFileAtomic(directory.get(), file,
                             std::string(kMagic) + Sha256Hex(body) + "\n" + std::string(body),
                             0600));
  return filter;
}

}  // namespace carrel
