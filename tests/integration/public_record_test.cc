// The public log of real jobs: proofs that hold, and nothing that an action could have put there.
#include <algorithm>

#include "audit/audit_log.h"
#include "support/raw_events.h"
#include "support/study.h"

namespace carrel::testing_support {
namespace {

// What must never be told: a name, a path, a patient's id, a password, a host.
const std::vector<std::string> kSecrets = {"Zebedee-Quillfeather", "/srv/wolfhampton/clinic",
                                           "9434765919", "hunter2-Xylophone",
                                           "db07.wolfhampton.nhs.example"};

std::string Base64(const std::string& bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<uint8_t>(c);
    held += 8;
    while (held >= 6) out += kDigits[(bits >> (held -= 6)) & 63];
  }
  return out;  // the last, incomplete digit left out: what follows would change it
}

std::string Hex(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) {
    out += "0123456789abcdef"[static_cast<uint8_t>(c) >> 4];
    out += "0123456789abcdef"[static_cast<uint8_t>(c) & 15];
  }
  return out;
}

// A secret as it could be hidden. All of it in lower case: so is what is searched.
std::vector<std::string> Disguises(const std::string& secret) {
  const std::string reversed(secret.rbegin(), secret.rend());
  std::vector<std::string> all = {Hex(secret), Hex(reversed)};
  for (const std::string& text : {secret, reversed}) {
    // Base64 at each of its three alignments, without the digits that its neighbours share.
    for (size_t skip = 0; skip < 3; ++skip) all.push_back(Base64(text.substr(skip)));
    // Split: any part that is too long to be there by chance. (Digits alone are also in hashes.)
    const size_t part = text.find_first_not_of("0123456789") == std::string::npos ? 8 : 6;
    for (size_t at = 0; at + part <= text.size(); ++at) all.push_back(text.substr(at, part));
  }
  for (std::string& text : all)
    std::transform(text.begin(), text.end(), text.begin(), [](char c) { return std::tolower(c); });
  return all;
}

std::string PublicFiles(const Study& study) {
  std::string all;
  for (const auto& file :
       std::filesystem::recursive_directory_iterator(study.state() + "/public")) {
    all += file.path().filename().string() + '\n';
    if (file.is_regular_file()) all += ReadFile(file.path()).value_or("");
  }
  return all;
}

void ExpectNothingDisclosed(const std::string& files) {
  std::string lower, joined;
  for (const char c : files) {
    lower += static_cast<char>(std::tolower(c));
    if (std::isalnum(static_cast<unsigned char>(c))) joined += lower.back();
  }
  for (const std::string& secret : kSecrets)
    for (const std::string& disguise : Disguises(secret)) {
      EXPECT_EQ(lower.find(disguise), std::string::npos) << secret << " as " << disguise;
      // The same with punctuation put between or left out.
      std::string letters;
      for (const char c : disguise)
        if (std::isalnum(static_cast<unsigned char>(c))) letters += c;
      if (letters.size() >= 6) {
        EXPECT_EQ(joined.find(letters), std::string::npos) << secret << " as " << letters;
      }
    }
}

std::vector<Json> Records(const Study& study) {
  std::vector<Json> records;
  const std::string text = ReadFile(study.state() + "/public/log.jsonl").value_or("");
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
    records.push_back(Json::parse(text.substr(at, end - at)));
  return records;
}

// A whole log of its own, with one execve, that nobody published.
void MakeLog(const Study& study, const std::string& id) {
  auto log = AuditLog::Create(study.state(), id);
  ASSERT_TRUE(log.has_value()) << log.error().ToString();
  const std::string call = RawCallOf(1, 59, 6400, 0);
  ASSERT_TRUE((*log)->AppendEvents(call.data(), call.size()).has_value());
  ASSERT_TRUE((*log)->Finish({1, 0, 0, 0}).has_value());
}

// A script that puts `secret` wherever an action can put something.
std::string Leak(const std::string& secret, int status) {
  return "S='" + secret +
         "'; N=$(echo \"$S\" | tr / _); export LEAK=\"$S\"; mkdir -p output;"
         "echo \"$S\"; echo \"$S\" >&2; echo \"$S\" > output/$N.csv; echo 1 > /tmp/$N;"
         "cp /bin/busybox /tmp/$N; ln -s $N /tmp/sleep; /tmp/sleep 0; /tmp/$N echo \"$S\";"
         "cat \"$S\" /nowhere/$N; mkdir -p \"/tmp/$S\"; touch -d @1434765919 output/t$N.csv;"
         "ln -s \"$S\" output/l$N.csv; mkfifo output/f$N.csv; " +
         (status > 128 ? "kill -" + std::to_string(status - 128) + " $$"
                       : "exit " + std::to_string(status));
}

TEST(PublicRecord, NothingOfWhatAnActionDoesIsInThePublicFiles) {
  Study study;
  int status = 0;
  for (const std::string& secret : kSecrets) {
    study.Commit({{"code.txt", secret}, {"src/" + Hex(secret) + ".txt", secret}});
    Json job = study.Job(Leak(secret, status += 19), {{"output/*.csv", "highly_sensitive"}});
    job["args"].push_back(secret);
    job["rap_id"] = job["task_id"] = "t-" + Hex(secret);
    job["env"] = {{"OPENSAFELY_BACKEND", secret}};
    (void)study.Run(job);
  }
  // Killed by a signal; refused; a definition whose every free field is a secret.
  (void)study.Run(study.Job(Leak(kSecrets[0], 128 + 15)));
  Json refused = study.Job("true");
  refused["user"] = kSecrets[0];
  refused["workspace"] = "zebedee-quillfeather";
  refused["repo_url"] = "https://x:hunter2-Xylophone@db07.wolfhampton.nhs.example/r";
  refused["database_name"] = "hunter2-xylophone";
  refused["image"] = "zebedee-quillfeather:v1";
  (void)study.Run(refused);
  ASSERT_GE(Records(study).size(), kSecrets.size() + 1);
  ExpectNothingDisclosed(PublicFiles(study));
}

// Whatever the action chooses, all it moves are the seal, the minutes, and one digit of a count.
TEST(PublicRecord, TwoJobsThatDifferInSecretsHaveOneRecord) {
  Study study;
  (void)study.Run(study.Job(Leak(kSecrets[0], 3)));
  (void)study.Run(study.Job(Leak(kSecrets[3], 77)));
  auto records = Records(study);
  ASSERT_EQ(records.size(), 2u);
  for (Json& record : records) {
    EXPECT_EQ(record["outcome"], "failed");
    EXPECT_EQ(record["seal"].get<std::string>().size(), 64u);
    for (const char* moved : {"job", "seal", "started", "ended", "calls"})
      EXPECT_EQ(record.erase(moved), 1u) << moved;
  }
  EXPECT_EQ(records[0], records[1]);
}

TEST(PublicRecord, ProofsHoldAndALogThatIsNotThePublishedOneIsFound) {
  Study study;
  std::vector<std::string> ids;
  std::string older;
  for (int i = 0; i < 3; ++i) {
    Json job = study.Job("mkdir -p output; echo 1 > output/x.csv");
    ids.push_back(job["id"]);
    ASSERT_EQ(study.Run(job).exit_code, 0);
    if (i == 1) older = *ReadFile(study.state() + "/public/tree.json");
  }
  auto verify = [&](std::vector<std::string> args) {
    args.insert(args.begin(), {"audit", "verify"});
    return study.Carrel(args);
  };
  const std::string proof_path = study.path() + "/proof.json",
                    old_path = study.path() + "/old.json";
  auto proof = study.Carrel({"audit", "prove", ids[1]});
  ASSERT_EQ(proof.exit_code, 0) << proof.errors;
  WriteFile(proof_path, proof.output);
  EXPECT_EQ(verify({"--public", proof_path}).exit_code, 0);
  Json forged = Json::parse(proof.output);
  forged["record"] = Json::parse(study.Carrel({"audit", "prove", ids[0]}).output)["record"];
  WriteFile(proof_path, forged.dump());
  EXPECT_EQ(verify({"--public", proof_path}).exit_code, 1);

  auto consistency = study.Carrel({"audit", "prove", "--consistency", "2"});
  WriteFile(proof_path, consistency.output);
  EXPECT_EQ(verify({"--public", proof_path}).exit_code, 0) << consistency.errors;
  // The old root of the proof is the one that was signed then.
  EXPECT_EQ(Json::parse(consistency.output)["old_root"],
            Json::parse(Json::parse(older)["head"].get<std::string>())["root"]);
  forged = Json::parse(consistency.output);
  forged["old_root"] = forged["root"];
  WriteFile(proof_path, forged.dump());
  EXPECT_EQ(verify({"--public", proof_path}).exit_code, 1);
  EXPECT_EQ(study.Carrel({"audit", "prove", "--consistency", "4"}).exit_code, 2);

  WriteFile(old_path, older);
  const std::string directory = study.state() + "/public";
  EXPECT_EQ(verify({"--public", directory, "--older", old_path}).exit_code, 0);
  EXPECT_EQ(verify({"--public", directory + "/log.jsonl"}).exit_code, 0);
  auto all = verify({"--all", "--json"});
  EXPECT_EQ(all.exit_code, 0) << all.output;
  EXPECT_NE(all.output.find("\"public_index\":2"), std::string::npos) << all.output;

  // A whole log of another run under the job's name; a log that is gone; another key; a public log
  // that was cut, and one that was changed.
  const std::string log = study.state() + "/audit/" + ids[0] + ".carrel-log";
  const std::string kept = *ReadFile(log);
  ASSERT_EQ(::unlink(log.c_str()), 0);
  auto missing = verify({"--all"});
  EXPECT_EQ(missing.exit_code, 8) << missing.output;
  EXPECT_NE(missing.output.find(ids[0] + ": missing"), std::string::npos);
  MakeLog(study, ids[0]);
  auto swapped = verify({ids[0]});
  EXPECT_EQ(swapped.exit_code, 1) << swapped.output;
  EXPECT_NE(swapped.output.find("another seal"), std::string::npos);
  WriteFile(log, kept);
  EXPECT_EQ(verify({ids[0]}).exit_code, 0);

  const std::string lines = *ReadFile(directory + "/log.jsonl");
  WriteFile(directory + "/log.jsonl", lines.substr(0, lines.size() - 20));
  EXPECT_EQ(verify({"--public", directory}).exit_code, 4);
  std::string changed = lines;
  changed[lines.find("succeeded")] = 'S';
  WriteFile(directory + "/log.jsonl", changed);
  EXPECT_EQ(verify({"--public", directory}).exit_code, 1);
  // Records that no head covers: some were added; the head is gone; there is nothing at all.
  WriteFile(directory + "/log.jsonl", lines + "{\"job\":\"forged\"}\n");
  auto added = verify({"--public", directory});
  EXPECT_EQ(added.exit_code, 5) << added.output;
  WriteFile(directory + "/log.jsonl", lines);
  const std::string head = *ReadFile(directory + "/tree.json");
  std::filesystem::remove(directory + "/tree.json");
  EXPECT_EQ(verify({"--public", directory}).exit_code, 4);
  WriteFile(directory + "/tree.json", head);
  EXPECT_EQ(verify({"--public", study.path()}).exit_code, 2);
  EXPECT_EQ(verify({"--public", directory}).exit_code, 0);
  for (const auto& key : std::filesystem::directory_iterator(study.state() + "/keys"))
    std::filesystem::remove(key.path());
  EXPECT_EQ(verify({"--public", directory}).exit_code, 6);
  EXPECT_EQ(verify({ids[1]}).exit_code, 6);
}

TEST(PublicRecord, QueriesFindJobsByProjectAndUser) {
  Study study;
  Json job = study.Job("mkdir -p output; echo 1 > output/x.csv");
  ASSERT_EQ(study.Run(job).exit_code, 0);
  MakeLog(study, "other");
  auto jobs_of = [&](std::vector<std::string> filter) {
    filter.insert(filter.begin(), {"audit", "query", "--json", "--syscall", "execve"});
    std::set<std::string> jobs;
    const std::string text = study.Carrel(filter).output;
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
      jobs.insert(Json::parse(text.substr(at, end - at))["job"].get<std::string>());
    return jobs;
  };
  using Ids = std::set<std::string>;
  EXPECT_EQ(jobs_of({}), (Ids{job["id"], "other"}));
  EXPECT_EQ(jobs_of({"--user", "developer"}), Ids{job["id"]});
  EXPECT_EQ(jobs_of({"--workspace", "demo", "--action", "act"}), Ids{job["id"]});
  EXPECT_EQ(jobs_of({"--project", "internal"}), Ids{job["id"]});
  EXPECT_EQ(jobs_of({"--user", "somebody"}), Ids{});
}

}  // namespace
}  // namespace carrel::testing_support
