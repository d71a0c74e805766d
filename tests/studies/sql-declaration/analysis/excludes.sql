SELECT patient_id FROM patients
 WHERE patient_id NOT IN (SELECT patient_id FROM PatientsWithTypeOneDissent);
