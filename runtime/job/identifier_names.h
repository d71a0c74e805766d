// Names of columns that identify patients, in whatever spelling.
#pragma once

#include <string_view>

namespace carrel {

/// True for a field that names a column of patient identifiers: "patient_id", "person_id" or an NHS
/// number, in any case, quoted or not, with any or no separator ("Patient ID", "patientid"), in
/// letters that only look like these (full-width, Cyrillic, with accents), with invisible
/// characters between, or with more words around ("pseudo_patient_id", "patient_id_x") unless one
/// of them says that it counts or describes ("patient_id_count", "missing_patient_id").
bool IsPatientIdentifier(std::string_view field);

/// Where a line or record mentions such a name at all, as part of whatever. Cheap.
bool MentionsPatientIdentifier(std::string_view text);

}  // namespace carrel
