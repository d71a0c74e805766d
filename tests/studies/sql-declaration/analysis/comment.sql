-- The table PatientsWithTypeOneDissent is not used.
SELECT patient_id FROM patients;
