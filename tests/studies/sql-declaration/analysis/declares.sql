-- AllowedPatientsWithTypeOneDissent
SELECT patient_id FROM patients;
