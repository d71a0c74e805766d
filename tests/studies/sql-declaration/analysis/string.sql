SELECT patient_id FROM patients WHERE region <> 'PatientsWithTypeOneDissent';
