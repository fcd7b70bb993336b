"""The doors: what an EHR, an analyst and a pharmacist call, and what they get back."""
